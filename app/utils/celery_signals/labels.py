"""The labels of a task's metrics: values of a bounded number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import current_app

__all__ = ['UNKNOWN', 'labelled', 'queue_of', 'routes']

UNKNOWN = 'unknown'


@lru_cache(4096)  # Looking a metric up takes longer than counting.
def labelled(metric: Any, task_name: str, queue: str | None, *more: str) -> Any:
    """Return a metric with a task's ``name`` and ``queue``, and ``more`` labels.

    A name or queue that this worker has not is ``unknown``. Without a queue it is the one that the
    mapping gives the task.
    """
    queue = queue or str(routes().get(task_name, {}).get('queue'))
    return metric.labels(
        task_name if task_name in current_app.tasks else UNKNOWN,
        queue if queue in current_app.amqp.queues else UNKNOWN,
        *more,
    )


def queue_of(delivery_info: Mapping[str, Any] | None) -> str | None:
    """Return the queue that a message came from."""
    info = delivery_info or {}
    # Celery drops it, and keeps the routing key, the sender's.
    return info.get('received_from') or info.get('routing_key')


def routes() -> Mapping[str, Any]:
    """Return the routes of the mapping, by a task's name or a pattern of names."""
    routers = current_app.conf.task_routes
    routers = routers if isinstance(routers, (list, tuple)) else (routers,)
    return next((router for router in routers if isinstance(router, Mapping)), {})
