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

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # A lone surrogate, such as of a file name, is no UTF-8.
            line = f'{self.format(record)}\n'.encode('utf-8', 'backslashreplace')
            if self._locks:
                self._write_alone(line)
            else:
                _write(self._descriptor, line)
        except OSError:
            pass  # nobody reads any more
        except Exception:  # noqa: BLE001  (a log line must not end what logs it)
            self.handleError(record)

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
