"""A log line as JSON, and one for a person. Neither has secrets."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from datetime import date
from functools import partial
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

from be_queue.redact import redact
from be_queue.text import MAX_TEXT, shortened
from be_queue.worker.logs.context import CELERY_LOGGERS
from be_queue.worker.redaction import redacted

__all__ = ['ConsoleFormatter', 'JsonFormatter']

_KEYS = {
    'asctime': 'timestamp',
    'levelname': 'level',
    'name': 'logger',
    'message': 'message',
    'processName': 'process',
    'process': 'pid',
    'exc_info': 'traceback',
}
_NO_FIELDS = {*RESERVED_ATTRS, 'action'}
# Celery's own messages have these.
_IN_MESSAGE = {'task_id', 'task_name', 'runtime_seconds'}

_DIM, _RESET = '\x1b[2m', '\x1b[0m'
_COLOURS = {
    'DEBUG': '\x1b[34m',
    'INFO': '\x1b[32m',
    'WARNING': '\x1b[33m',
    'ERROR': '\x1b[31m',
    'CRITICAL': '\x1b[1;31m',
}
# Control characters but tab and newline: they could move the cursor, or clear the screen.
_CONTROLS = {n: f'\\x{n:02x}' for n in (*range(9), *range(11, 32), *range(127, 160))}
_WORD = re.compile('[^\\s"=\x00-\x1f\x7f-\x9f]+')


class JsonFormatter(BaseJsonFormatter):
    """One object per line, in ASCII; its keys are in docs/observability.md."""

    default_time_format = '%Y-%m-%dT%H:%M:%S'
    default_msec_format = '%s.%03dZ'
    converter = time.gmtime  # type: ignore[assignment]

    def __init__(self, service: str, env: str, release: str) -> None:
        super().__init__(
            [name for name in _KEYS if name != 'exc_info'],
            rename_fields=_KEYS,
            static_fields={'service': service, 'env': env, 'release': release},
            json_serializer=partial(json.dumps, separators=(',', ':')),
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        if record.exc_info and record.exc_info[0]:
            log_data['exception'] = record.exc_info[0].__name__
            log_data['traceback'] = log_data.pop('traceback')  # to the end: it is long

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        # Masked here and not in the line: *** in the place of a number, or of half an escaped
        # character, is no JSON.
        return {redacted(name): _plain(name, value) for name, value in log_data.items()}


class ConsoleFormatter(logging.Formatter):
    """Time, level, process, logger, message and fields; a coloured line has no date."""

    default_msec_format = '%s.%03d'

    def __init__(self, colours: bool) -> None:
        super().__init__()
        self._colours = colours
        self.default_time_format = '%H:%M:%S' if colours else '%Y-%m-%d %H:%M:%S'

    def format(self, record: logging.LogRecord) -> str:
        no_fields = _NO_FIELDS | _IN_MESSAGE if record.name in CELERY_LOGGERS else _NO_FIELDS
        fields = merge_record_extra(record, {}, no_fields)
        shown = ''.join(f' {redacted(n)}={_shown(_plain(n, v))}' for n, v in fields.items())
        moment, level = self.formatTime(record), f'{record.levelname:<7}'
        if self._colours:
            moment, shown = f'{_DIM}{moment}{_RESET}', f'{_DIM}{shown}{_RESET}'
            level = f'{_COLOURS.get(record.levelname, "")}{level}{_RESET}'
        # A line break in a message must not begin what looks like another line.
        message = _text(record.getMessage()).replace('\n', '\n    ')
        lines = [f'{moment} {level} {record.processName} {record.name}: {message}{shown}']
        if record.exc_info:
            lines.append(_text(self.formatException(record.exc_info)))
        if record.stack_info:
            lines.append(_text(self.formatStack(record.stack_info)))
        return '\n'.join(lines)


def _plain(name: str, value: Any) -> Any:
    """Return a field as JSON-safe data: secrets masked, size limited."""
    try:
        plain = redact(value, name, _leaf)
        if isinstance(plain, (dict, list)) and len(text := json.dumps(plain)) > MAX_TEXT:
            return shortened(text)
    except Exception as error:  # noqa: BLE001  (an object's own methods may raise anything)
        return f'<{type(value).__name__} without a text: {type(error).__name__}>'
    return plain


def _leaf(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    text = redacted(value.isoformat() if isinstance(value, date) else str(value))
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value if text == str(value) else text  # a secret may be a number
    return shortened(text)


def _text(text: str) -> str:
    return shortened(redacted(text)).translate(_CONTROLS)


def _shown(value: Any) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return _text(json.dumps(value, ensure_ascii=False))
