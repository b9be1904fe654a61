"""Logs what is printed: where each line must be JSON, so must a ``print``."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, TextIO

from celery import signals
from celery.utils.log import LoggingProxy

__all__ = ['log_prints']


class LogStream(LoggingProxy):
    """Celery's stream that logs, with a record for each line instead of each write."""

    def __init__(self, real: TextIO | None, name: str, level: int) -> None:
        super().__init__(logging.getLogger(name), level)
        self._real = real
        self._unfinished = threading.local()

    def __getattr__(self, name: str) -> Any:  # such as fileno, for a program that a task starts
        return getattr(self._real, name)

    def write(self, text: str) -> int:
        *lines, self._unfinished.line = f'{self._line()}{text}'.split('\n')
        for line in lines:
            super().write(line)
        return len(text)

    def flush(self) -> None:
        line, self._unfinished.line = self._line(), ''
        super().write(line)

    def _line(self) -> str:
        return getattr(self._unfinished, 'line', '')


def log_prints() -> None:
    """Have what this process prints logged, by the loggers ``stdout`` and ``stderr``."""
    sys.stdout = LogStream(sys.__stdout__, 'stdout', logging.INFO)
    sys.stderr = LogStream(sys.__stderr__, 'stderr', logging.WARNING)
    signals.task_postrun.connect(_flush)


def _flush(**_: Any) -> None:
    # Or a print without a newline would begin a line of the next task.
    sys.stdout.flush()
    sys.stderr.flush()
