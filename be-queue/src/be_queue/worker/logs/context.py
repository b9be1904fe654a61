"""Adds to each log line the process and the task that it is about."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery import current_task
from celery.app import trace

__all__ = ['CELERY_LOGGERS', 'ContextFilter', 'about']

#: Their lines tell the life of a task. Celery gives them its data as a field ``data``.
CELERY_LOGGERS = ('celery.app.trace', 'celery.worker.strategy')
_ACTIONS = {
    trace.LOG_RECEIVED: 'received',
    trace.LOG_SUCCESS: 'succeeded',
    trace.LOG_RETRY: 'retried',
    trace.LOG_FAILURE: 'failed',
    trace.LOG_IGNORED: 'ignored',
    trace.LOG_REJECTED: 'rejected',
}
_RESERVED = {
    'timestamp', 'level', 'logger', 'exception', 'traceback', 'pid', 'service', 'env', 'release',
}  # fmt: skip

# A task with its request, where Celery does not run it.
_about: ContextVar[tuple[Any, Mapping[str, Any]] | None] = ContextVar('_about', default=None)


@contextmanager
def about(task: Any, request: Mapping[str, Any]) -> Iterator[None]:
    """Add a task's fields to the lines within the block, where Celery does not run the task.

    ``request`` is as in the message's headers.
    """
    token = _about.set((task, request))
    try:
        yield
    finally:
        _about.reset(token)


class ContextFilter(logging.Filter):
    """Adds fields to a record. A field of the caller's whose name is taken gets a ``_``."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def filter(self, record: logging.LogRecord) -> bool:
        if record.processName == 'MainProcess':
            record.processName = self._process
        fields = vars(record)
        given = _of_task()
        if record.name in CELERY_LOGGERS and isinstance(fields.get('data'), dict):
            given |= _of_celery(record.msg, fields.pop('data'))
        added = {name: value for name, value in given.items() if value is not None}
        for name in (_RESERVED | added.keys()) & fields.keys():
            fields[f'{name}_'] = fields.pop(name)
        fields.update(added)
        return True


def _of_task() -> dict[str, Any]:
    if about := _about.get():
        task, request = about
    # Not `current_app`, which would make an app in a process that has none.
    elif current_task and (task := current_task.app.current_worker_task):
        request = vars(task.request)
    else:
        return {}
    retries = request.get('retries')
    return {
        'task_id': request.get('id'),
        'task_name': task.name,
        'queue': (request.get('delivery_info') or {}).get('routing_key'),
        # A message from elsewhere may have anything here.
        'attempt': retries + 1 if isinstance(retries, int) else 1,
        'max_attempts': None if task.max_retries is None else task.max_retries + 1,
        'trace_id': request.get('trace_id'),
    }


def _of_celery(message: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a line of a task's life: arguments and results stay out."""
    return {
        'task_id': data.get('id'),
        'task_name': data.get('name'),
        'action': _ACTIONS.get(message),
        'runtime_seconds': data.get('runtime'),
        'eta': data.get('eta'),
    }
