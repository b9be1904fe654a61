"""A line as JSON: one object, in ASCII, for whatever collects the logs of containers."""

from __future__ import annotations

import json
import logging
import time

from app.utils.logs.line import line_of

__all__ = ['JsonFormatter']

# ASCII: what splits long lines into pieces (containers' runtimes do, at 16 KiB) cannot split a
# character.
_encode = json.JSONEncoder(separators=(',', ':'), default=str).encode


class JsonFormatter(logging.Formatter):
    """One object per line; see docs/observability.md for its keys.

    Arguments:
        process: what the main thread's process is called.
        service, env, release: what runs.
    """

    def __init__(self, process: str, service: str, env: str, release: str) -> None:
        super().__init__()
        self._process = process
        self._identity = {'service': service, 'env': env, 'release': release}
        self._second, self._date = 0, ''

    def format(self, record: logging.LogRecord) -> str:
        line = line_of(record)
        process = record.processName
        entry = {
            'timestamp': self._timestamp(record.created),
            'level': record.levelname,
            'logger': record.name,
            'message': line.message,
            'process': self._process if process == 'MainProcess' else process,
            'pid': record.process,
            **self._identity,
            **line.fields,
        }
        if line.exception:
            entry['exception'] = line.exception
        if line.traceback:
            entry['traceback'] = line.traceback
        return _encode(entry)

    def _timestamp(self, created: float) -> str:
        second, millisecond = divmod(int(created * 1000), 1000)
        if second != self._second:
            # The date first: another thread takes it for that of the second.
            date = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))
            self._date, self._second = date, second
        return f'{self._date}.{millisecond:03d}Z'
