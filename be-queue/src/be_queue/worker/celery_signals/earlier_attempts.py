"""Tells in the message of a retry of the attempts before it: for the history, and for Sentry."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

from celery import current_app, signals

__all__ = ['HEADER', 'MAX_ATTEMPTS']

#: Header of a retry: a breadcrumb of Sentry's for each attempt before it, of the last ten.
HEADER = 'earlier_attempts'
MAX_ATTEMPTS = 10


@signals.before_task_publish.connect
def _add_attempt(headers: dict[str, Any], **_: Any) -> None:
    """Add this attempt to the header of its retry."""
    task = current_app.current_worker_task
    if task is None:
        return
    request = task.request
    # Among the messages that a task sends, only its own retry has its id.
    if (headers.get('id'), headers.get('retries')) != (request.id, request.retries + 1):
        return
    kind = sys.exc_info()[0]
    attempt, name = request.retries + 1, kind.__name__ if kind else 'no exception'
    breadcrumb = {
        'category': 'retry',
        'level': 'warning',
        'message': f'attempt {attempt} failed and was retried: {name}',
        'data': {'attempt': attempt, 'exception': name},
        'timestamp': datetime.now(timezone.utc).isoformat(),
    }
    earlier = getattr(request, HEADER, None) or []
    headers[HEADER] = [*earlier, breadcrumb][-MAX_ATTEMPTS:]
