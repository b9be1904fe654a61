"""Writes each line whole, beside other processes that write to the same pipe.

A line of up to 4096 bytes (PIPE_BUF) is never mixed with others. A longer one, such as a traceback
as JSON, is when the pipe is full, which is when its reader is slow: so whoever writes to a pipe or
a socket holds a lock of it meanwhile. The kernel takes the lock from a process that ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import stat
import sys
from typing import Any

from app.utils.soft_time_limit import put_off

__all__ = ['LineHandler', 'standard_error']


class LineHandler(logging.Handler):
    """Writes to a file descriptor, without a buffer.

    Arguments:
        descriptor: where to.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._locks = _takes_locks(descriptor)

    def handle(self, record: logging.LogRecord) -> Any:
        # What formats and writes a line catches every exception, this one too.
        with put_off:
            return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001  (of objects that a task logs)
            text = self._in_its_place(record, error)
        try:
            # A lone surrogate, such as of a file name, is no UTF-8.
            line = f'{text}\n'.encode('utf-8', 'backslashreplace')
            if self._locks:
                self._write_alone(line)
            else:
                _write(self._descriptor, line)
        except Exception:  # noqa: BLE001, S110  (a log line must not end what logs it)
            pass  # mostly an OSError: nobody reads any more

    def _in_its_place(self, record: logging.LogRecord, error: Exception) -> str:
        # Neither its text nor its arguments, in which a secret may be.
        said = 'a line of %s:%d cannot be shown: %s'
        args = (record.pathname, record.lineno, type(error).__name__)
        other = logging.LogRecord(
            record.name, record.levelno, record.pathname, record.lineno, said, args, None
        )
        try:
            return self.format(other)
        except Exception:  # noqa: BLE001  (a fault of the formatter)
            return other.getMessage()

    def _write_alone(self, line: bytes) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            _write(self._descriptor, line)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def standard_error() -> int:
    """Return the descriptor of the process' standard error, whatever stands for it meanwhile."""
    try:
        return sys.__stderr__.fileno() if sys.__stderr__ else 2
    except (OSError, ValueError):
        return 2


def _takes_locks(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return False  # files and terminals take a line of any length at once
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
    except OSError:
        return False
    return True


def _write(descriptor: int, line: bytes) -> None:
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:  # whoever shares it has made it so
            select.select([], [descriptor], [])
