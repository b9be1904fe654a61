"""Writes log lines to a file descriptor."""

from __future__ import annotations

import logging
import os
from typing import Any

from be_queue.worker.soft_time_limit import put_off

__all__ = ['LineHandler']


class LineHandler(logging.Handler):
    """Writes each line at once and without a buffer, which a fork would copy.

    Lines of up to 4 KiB do not mix with those of other processes in the same pipe.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def handle(self, record: logging.LogRecord) -> Any:
        # The soft time limit is an exception, and `emit` catches every one.
        with put_off:
            return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # A lone surrogate, such as of a file name, is no UTF-8.
            line = f'{self._line(record)}\n'.encode(errors='backslashreplace')
            while line:
                line = line[os.write(self._descriptor, line) :]
        except Exception:  # noqa: BLE001, S110  (mostly an OSError: nobody reads any more)
            pass

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  (an object's own __str__ may raise anything)
            # Without the arguments: in the place of this, logging would print them, with secrets.
            record.msg = 'a line of %s:%d cannot be logged: %s'
            record.args = (record.pathname, record.lineno, type(error).__name__)
            return self.format(record)
