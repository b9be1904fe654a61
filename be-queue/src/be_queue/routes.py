"""Celery's ``task_routes``: which queue a task goes to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from celery import current_app

from be_queue.environment import closest
from be_queue.errors import UnmappedTaskError
from be_queue.queues import Queues
from be_queue.topology import Topology

__all__ = ['routes']


def routes(queues: Queues | Iterable[str], topology: Topology, allow_unmapped: bool) -> list[Any]:
    """Return the routes of a mapping by task, or of queue names by pattern."""
    if isinstance(queues, Queues):
        known = topology.routes_by_task({queue.task: queues.sqs_name(queue) for queue in queues})
    else:
        known = topology.routes_by_pattern(queues)
    return [known] if allow_unmapped else [known, _refuse_unmapped(known.keys())]


def _refuse_unmapped(known: Collection[str]) -> Callable[..., None]:
    """Return the last of Celery's routers, which refuses tasks that have no queue.

    Celery would send them to the queue of its own tasks, where they end as dead letters. A running
    task sends as Celery does: the rest of a chain is sent when the body is over, and an error there
    would cost the result.
    """

    def route(name: str, args: Any, kwargs: Any, options: dict[str, Any], **_: Any) -> None:
        has_destination = any(map(options.get, ('queue', 'exchange', 'routing_key')))
        if not has_destination and not current_app.current_worker_task:
            raise UnmappedTaskError(name, closest(name, known, 0.6))

    return route
