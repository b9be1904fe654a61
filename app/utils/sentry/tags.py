"""What a report says of the task that failed."""

from __future__ import annotations

from typing import Any

from app.utils.sentry.attempts import breadcrumbs

__all__ = ['TASK', 'describe']

#: The name, in a report's hint, of the name and the context of the task that it is about.
TASK = 'task_and_request'


def describe(report: dict[str, Any], name: str, request: Any) -> None:
    """Add tags and the attempts before to a report.

    Arguments:
        name: the task's.
        request: the task's context, a `celery.app.task.Context`.
    """
    tags = {
        'task': name,
        'queue': (request.delivery_info or {}).get('routing_key'),
        'attempt': (request.retries or 0) + 1,
        'celery_task_id': request.id,
        'message_id': _message_id(request),
        'trace_id': getattr(request, 'trace_id', None),
    }
    known = {key: str(value) for key, value in tags.items() if value is not None}
    report['tags'] = {**(report.get('tags') or {}), **known}
    report['transaction'] = name
    logged = report.get('breadcrumbs') or {}
    crumbs = [*breadcrumbs(request), *logged.get('values', [])]
    report['breadcrumbs'] = {**logged, 'values': crumbs}


def _message_id(request: Any) -> str | None:
    # As the transport received it.
    info = (request.properties or {}).get('delivery_info') or {}
    message: dict[str, Any] = info.get('sqs_message') or {}
    return message.get('MessageId')
