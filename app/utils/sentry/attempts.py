"""The earlier attempts of a retried task, which the messages of its retries carry in a header."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from typing import Any

from celery import current_app
from celery.exceptions import Retry

__all__ = ['HEADER', 'add_header', 'breadcrumbs']

#: ``[attempt, seconds since the epoch, class of the exception]`` of each earlier attempt.
HEADER = 'earlier_attempts'
#: Attempts in the header; the oldest are left out.
MAX_ATTEMPTS = 10
MAX_NAME_LENGTH = 80


def add_header(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Add this attempt to the message of its retry; for the signal before_task_publish."""
    task = current_app.current_worker_task
    if task is None or not isinstance(headers, dict):
        return
    request = task.request
    # Of the messages that a task sends, only its own retry has its id.
    if headers.get('id') != request.id or headers.get('retries') != request.retries + 1:
        return
    error = sys.exc_info()[1]
    if isinstance(error, Retry):
        error = error.exc
    name = 'no exception' if error is None else type(error).__name__[:MAX_NAME_LENGTH]
    attempt = [request.retries + 1, round(time.time(), 3), name]
    headers[HEADER] = [*(getattr(request, HEADER, None) or ()), attempt][-MAX_ATTEMPTS:]


def breadcrumbs(request: Any) -> list[dict[str, Any]]:
    """Return one for each attempt before that of ``request``, a task's context."""
    try:
        return [
            {
                'type': 'error',
                'category': 'retry',
                'level': 'warning',
                'message': f'attempt {attempt} failed and was retried: {name}',
                'data': {'attempt': attempt, 'exception': name},
                'timestamp': datetime.fromtimestamp(moment, timezone.utc).isoformat(),
            }
            for attempt, moment, name in (getattr(request, HEADER, None) or ())[-MAX_ATTEMPTS:]
        ]
    except (TypeError, ValueError, OverflowError, OSError):  # not a header of ours
        return []
