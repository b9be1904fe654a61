"""Values of metric labels, of a bounded number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import current_app

__all__ = ['UNKNOWN', 'labels', 'labels_of', 'routes']

UNKNOWN = 'unknown'
#: Answers that are kept, since each takes longer than the count itself.
_KEPT = 1024


def labels(task_name: str, delivery_info: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a task's ``name`` and ``queue``; what this worker does not know is ``unknown``.

    Without ``delivery_info`` the queue is the one that the mapping gives the task.
    """
    info = delivery_info or {}
    # Celery drops the queue that a message came from, and keeps the routing key, the sender's.
    return labels_of(task_name, info.get('received_from') or info.get('routing_key'))


@lru_cache(_KEPT)
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
    for router in routers if isinstance(routers, (list, tuple)) else (routers,):
        if isinstance(router, Mapping):
            return router
    return {}
