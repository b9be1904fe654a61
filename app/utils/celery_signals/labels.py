"""Metric labels of a task, with a bounded number of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import current_app

__all__ = ['UNKNOWN', 'labels']

UNKNOWN = 'unknown'


def labels(task_name: str, delivery_info: Mapping[str, Any] | None) -> dict[str, str]:
    """Return ``{'name': ..., 'queue': ...}``; what this worker does not know is ``unknown``.

    Without ``delivery_info`` the queue is the one that the mapping gives the task.
    """
    route = current_app.conf.task_routes.get(task_name) or {}
    queue = str((delivery_info or {}).get('routing_key') or route.get('queue'))
    return {
        'name': task_name if task_name in current_app.tasks else UNKNOWN,
        'queue': queue if queue in current_app.amqp.queues else UNKNOWN,
    }
