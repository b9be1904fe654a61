"""What a line says: its message, its fields and its exception, without secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.known_secrets import redacted
from app.utils.logs.context import of_task
from app.utils.logs.plain import MAX_PARTS, Room, shown
from app.utils.long_text import shortened

__all__ = ['RESERVED', 'Line', 'line_of']

#: What every line has: a field of such a name gets a ``_`` at its end.
RESERVED = frozenset(
    ('timestamp', 'level', 'logger', 'message', 'exception', 'traceback')
) | frozenset(('process', 'pid', 'service', 'env', 'release'))

# The last three are set by formatters, and by newer Pythons.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {'message', 'asctime', 'taskName'}
_BARE = len(logging.makeLogRecord({}).__dict__)
# Here, Celery gives the lines of a task's life their data in a field ``data``.
_CELERY = frozenset({'celery.app.trace', 'celery.worker.strategy'})
_TASK = 'Task %(name)s[%(id)s] '
_ACTIONS = {
    f'{_TASK}received': 'received',
    f'{_TASK}succeeded in %(runtime)ss: %(return_value)s': 'succeeded',
    f'{_TASK}retry: %(exc)s': 'retried',
    f'{_TASK}%(description)s: %(exc)s': 'failed',
    f'{_TASK}%(description)s': 'ignored',
    f'{_TASK}%(exc)s': 'rejected',
}
_SAID = frozenset({'action', 'task_id', 'task_name', 'runtime_seconds'})
_format_exception = logging.Formatter().formatException


@dataclass
class Line:
    """A record without secrets.

    Arguments:
        message: the text.
        fields: what there is beside it.
        said: the names of those fields that the message has too.
        exception: the class of the exception; '' without one.
        traceback: of the exception, or the stack that was asked for.
    """

    message: str
    fields: dict[str, Any]
    said: frozenset[str] = frozenset()
    exception: str = ''
    traceback: str = ''


def line_of(record: logging.LogRecord) -> Line:
    """Return what a record says."""
    line = Line(_text(_message(record)), of_task())
    if len(record.__dict__) > _BARE:
        _add(line, record)
    if record.exc_info and record.exc_info[0] is not None:
        line.exception = record.exc_info[0].__name__
        line.traceback = _text(record.exc_text or _format_exception(record.exc_info))
    if record.stack_info:
        line.traceback = '\n'.join(filter(None, (line.traceback, _text(record.stack_info))))
    return line


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().rstrip('\n')
    except Exception as error:  # noqa: BLE001  (the arguments' own __str__ may raise anything)
        return f'{shown(record.msg)} (its arguments do not fit: {type(error).__name__})'


def _add(line: Line, record: logging.LogRecord) -> None:
    fields = line.fields = dict(line.fields)
    extra = record.__dict__
    data = extra.get('data')
    room = Room()
    if record.name in _CELERY and isinstance(data, dict):
        _add_of_celery(fields, record.msg, data, room)
        line.said = _SAID
        if len(extra) == _BARE + 1:
            return
        extra = {name: value for name, value in extra.items() if name != 'data'}
    for name, value in extra.items():
        if name not in _STANDARD:
            if len(fields) >= MAX_PARTS:
                fields['...'] = '...'
                break
            taken = name in fields or name in RESERVED
            fields[f'{name}_' if taken else name] = room.field(value, str(name))


def _add_of_celery(
    fields: dict[str, Any], message: str, data: Mapping[str, Any], room: Room
) -> None:
    """Add the fields of a line of a task's life. Arguments and results stay out."""
    if 'task_id' not in fields:
        fields['task_id'] = room.field(data.get('id'), 'task_id')
        fields['task_name'] = room.field(data.get('name'), 'task_name')
    if action := _ACTIONS.get(message):
        fields['action'] = action
    if (runtime := data.get('runtime')) is not None:
        fields['runtime_seconds'] = runtime
    if eta := data.get('eta'):
        fields['eta'] = room.field(eta, 'eta')


def _text(text: str) -> str:
    return shortened(redacted(text))
