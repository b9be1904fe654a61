"""What a task's earlier attempts failed with: carried by the retries' messages."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from typing import Any

from celery import current_app, signals
from celery.exceptions import Retry

__all__ = ['EARLIER', 'breadcrumbs', 'connect']

#: The header of a retry: ``[attempt, time in seconds since the epoch, class of the exception]`` of
#: each attempt before. No texts, which may hold anything, and would make messages longer.
EARLIER = 'earlier_attempts'
#: As many as are carried.
MOST = 10
#: Characters of a class's name.
NAME_LENGTH = 80


def connect() -> None:
    """Have this process's retries say what was before them."""
    signals.before_task_publish.connect(_publishing)


def _publishing(headers: dict[str, Any] | None = None, **_: Any) -> None:
    task = current_app.current_worker_task
    if task is None or not isinstance(headers, dict):
        return
    request = task.request
    # Of the tasks that a task sends, only its own retry has its id.
    if headers.get('id') != request.id or headers.get('retries') != request.retries + 1:
        return
    error = sys.exc_info()[1]
    if isinstance(error, Retry):
        error = error.exc
    name = 'no exception' if error is None else type(error).__name__[:NAME_LENGTH]
    earlier = [*_earlier(request), [request.retries + 1, round(time.time(), 3), name]]
    headers[EARLIER] = earlier[-MOST:]


def breadcrumbs(request: Any) -> list[dict[str, Any]]:
    """Return one for each attempt before that of ``request``, a task's context."""
    return [
        {
            'type': 'error',
            'category': 'retry',
            'level': 'warning',
            'message': f'attempt {attempt} failed and was retried: {name}',
            'data': {'attempt': attempt, 'exception': name},
            'timestamp': datetime.fromtimestamp(moment, timezone.utc).isoformat(),
        }
        for attempt, moment, name in _earlier(request)
    ]


def _earlier(request: Any) -> list[Any]:
    found = getattr(request, EARLIER, None)
    if not isinstance(found, list):
        return []
    return [entry for entry in found[-MOST:] if _is_attempt(entry)]  # a stranger may send anything


def _is_attempt(entry: Any) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) == 3
        and isinstance(entry[0], int)
        and isinstance(entry[1], (int, float))
        and 0 <= entry[1] < 1e11
        and isinstance(entry[2], str)
    )
