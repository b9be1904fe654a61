"""Which task a line is about: its id, name, queue, attempt and trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery._state import _task_stack

__all__ = ['about', 'of_task']

_about: ContextVar[dict[str, Any] | None] = ContextVar('_about', default=None)


@contextmanager
def about(task: Any, request: Mapping[str, Any]) -> Iterator[None]:
    """Have lines within say that they are about a task, where Celery runs none.

    Arguments:
        task: the task.
        request: its request, as the message's headers have it.
    """
    token = _about.set(_fields(task, request.get))
    try:
        yield
    finally:
        _about.reset(token)


def of_task() -> dict[str, Any]:
    """Return the fields of the task that this thread runs; empty when it runs none."""
    given = _about.get()
    if given is not None:
        return given
    for task in reversed(_task_stack.stack):
        # A task that is called like a function, inside another, has a request without an id: its
        # lines are the other's.
        for request in reversed(task.request_stack.stack):
            if request.id:
                return _of_request(task, request)
    return {}


def _of_request(task: Any, request: Any) -> dict[str, Any]:
    fields: dict[str, Any] | None = request.__dict__.get('_log_fields')
    if fields is None:
        fields = _fields(task, lambda name: getattr(request, name, None))
        request._log_fields = fields
    trace_id = getattr(request, 'trace_id', None)
    return fields | {'trace_id': str(trace_id)} if trace_id else fields


def _fields(task: Any, get: Any) -> dict[str, Any]:
    retries = get('retries')
    fields = {
        'task_id': get('id'),
        'task_name': task.name,
        'queue': (get('delivery_info') or {}).get('routing_key'),
        # A stranger may send anything, and the line is written all the same.
        'attempt': retries + 1 if isinstance(retries, int) else 1,
    }
    if task.max_retries is not None:
        fields['max_attempts'] = task.max_retries + 1
    return fields
