"""A line for a person: coloured on a terminal."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from app.utils.logs.line import line_of

__all__ = ['ConsoleFormatter']

_DIM, _CYAN, _BOLD, _RESET = '\x1b[2m', '\x1b[36m', '\x1b[1m', '\x1b[0m'
_LEVELS = {
    'DEBUG': '\x1b[34m',
    'INFO': '\x1b[32m',
    'WARNING': '\x1b[33m',
    'ERROR': '\x1b[31m',
    'CRITICAL': '\x1b[1;31m',
}
# What could move the cursor, clear the screen, or pass for a line of ours.
_CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f]')
_WORD = re.compile('[^\\s"=\x00-\x1f\x7f-\x9f]+')
_INDENT = ' ' * 4


class ConsoleFormatter(logging.Formatter):
    """Time, level, process, logger, message, fields; the exception below.

    Arguments:
        process: what the main thread's process is called.
        colours: whether to use them; a coloured line has no date.
    """

    def __init__(self, process: str, colours: bool) -> None:
        super().__init__()
        self._process = process
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        line = line_of(record)
        process = self._process if record.processName == 'MainProcess' else record.processName
        parts = [
            self._in(_DIM, self._time(record.created)),
            self._in(_LEVELS.get(record.levelname, ''), f'{record.levelname:<7}'),
            self._in(_DIM, str(process)),
            self._in(_CYAN, f'{record.name}:'),
            self._message(_printable(line.message).replace('\n', f'\n{_INDENT}'), record.levelno),
        ]
        if fields := _fields(line.fields, line.said):
            parts.append(self._in(_DIM, fields))
        text = ' '.join(parts)
        return f'{text}\n{_printable(line.traceback)}' if line.traceback else text

    def _time(self, created: float) -> str:
        second, millisecond = divmod(int(created * 1000), 1000)
        layout = '%H:%M:%S' if self._colours else '%Y-%m-%d %H:%M:%S'
        return f'{time.strftime(layout, time.localtime(second))}.{millisecond:03d}'

    def _message(self, text: str, level: int) -> str:
        return self._in(_BOLD, text) if level >= logging.WARNING else text

    def _in(self, colour: str, text: str) -> str:
        return f'{colour}{text}{_RESET}' if self._colours and colour else text


def _fields(fields: Mapping[str, Any], said: frozenset[str]) -> str:
    # What happened, a person reads in the message.
    shown = ((k, v) for k, v in fields.items() if k not in said and k != 'action')
    return ' '.join(f'{k}={_value(v)}' for k, v in shown)


def _value(value: Any) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return _printable(json.dumps(value, ensure_ascii=False, default=str))


def _printable(text: str) -> str:
    return _CONTROL.sub(lambda found: f'\\x{ord(found[0]):02x}', text)
