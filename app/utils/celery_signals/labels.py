"""Values of metric labels, of a bounded number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import current_app

__all__ = ['UNKNOWN', 'labels', 'labels_of', 'routes']

UNKNOWN = 'unknown'


def labels(task_name: str, delivery_info: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a task's ``name`` and ``queue``, ``unknown`` for those that this worker has not.

    Without ``delivery_info`` the queue is the one that the mapping gives the task.
    """
    info = delivery_info or {}
    # Celery drops the queue that a message came from, and keeps the routing key, the sender's.
    return labels_of(task_name, info.get('received_from') or info.get('routing_key'))


@lru_cache(1024)
def labels_of(task_name: str, routing_key: str | None) -> tuple[str, str]:
    """As `labels`, of the routing key alone."""
    queue = str(routing_key or routes().get(task_name, {}).get('queue'))
    return (
        task_name if task_name in current_app.tasks else UNKNOWN,
        queue if queue in current_app.amqp.queues else UNKNOWN,
    )


def routes() -> Mapping[str, Any]:
    """Return the routes of the mapping, by a task's name or a pattern of names."""
    routers = current_app.conf.task_routes
    routers = routers if isinstance(routers, (list, tuple)) else (routers,)
    return next((router for router in routers if isinstance(router, Mapping)), {})
