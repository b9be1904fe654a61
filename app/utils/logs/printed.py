"""Makes log lines of what is printed.

Where each line must be JSON, a ``print`` in a task would be the one that is not.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, TextIO

from celery import signals

from app.utils.soft_time_limit import put_off

__all__ = ['capture']

# Longer than this, a line is logged before it ends.
MAX_LENGTH = 30_000


def capture() -> None:
    """Have what this process prints logged, by the loggers ``stdout`` and ``stderr``."""
    sys.stdout = Printed(sys.__stdout__, logging.getLogger('stdout'), logging.INFO)
    sys.stderr = Printed(sys.__stderr__, logging.getLogger('stderr'), logging.WARNING)
    signals.task_postrun.connect(_flush)


class Printed(io.TextIOBase):
    """A stream that logs each line.

    Arguments:
        real: the stream in whose place it is.
        log, level: where the lines go.
    """

    def __init__(self, real: TextIO | None, log: logging.Logger, level: int) -> None:
        super().__init__()
        self._real = real
        self._log = log
        self._level = level
        # Of each thread: a print comes in pieces, and a handler may print what it is given.
        self._thread = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return 'utf-8'

    @property
    def buffer(self) -> Any:
        """Take bytes past the log, as the stream does."""
        return self._real.buffer if self._real else io.BytesIO()

    def fileno(self) -> int:
        if self._real is None:
            raise OSError('no stream')
        return self._real.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with put_off:
            *lines, rest = (getattr(self._thread, 'rest', '') + text).split('\n')
            if len(rest) > MAX_LENGTH:
                lines, rest = [*lines, rest], ''
            self._thread.rest = rest
            for line in lines:
                self._say(line)
        return len(text)

    def flush(self) -> None:
        with put_off:
            rest, self._thread.rest = getattr(self._thread, 'rest', ''), ''
            self._say(rest)

    def _say(self, line: str) -> None:
        if not line.strip() or getattr(self._thread, 'saying', False):
            return
        self._thread.saying = True
        try:
            self._log.log(self._level, '%s', line)
        finally:
            self._thread.saying = False


def _flush(**_: Any) -> None:
    # Else what a task prints without a newline would begin a line of the next one.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Printed):
            stream.flush()
