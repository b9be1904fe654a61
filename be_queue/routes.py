"""Which queue a task goes to, for Celery's ``task_routes``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from celery import current_app

from be_queue.environment import closest
from be_queue.errors import UnmappedTaskError
from be_queue.queues import Queues
from be_queue.topology import Topology

__all__ = ['RefuseUnmapped', 'routes']

#: Options of a call that say where it goes.
DESTINATIONS = ('queue', 'exchange', 'routing_key')


def routes(queues: Queues | Iterable[str], topology: Topology, allow_unmapped: bool) -> list[Any]:
    """Return the routes of a mapping by task, of names of queues by pattern."""
    if isinstance(queues, Queues):
        known = topology.routes_by_task({queue.task: queues.sqs_name(queue) for queue in queues})
    else:
        known = topology.routes_by_pattern(queues)
    return [known] if allow_unmapped else [known, RefuseUnmapped(known.keys())]


class RefuseUnmapped:
    """The last of Celery's routers: refuses to send what those before it do not know.

    Celery would send it to the queue of its own tasks, where it ends as a dead letter. A task that
    runs in a worker sends as Celery does: the rest of a chain is sent when the body is over, and an
    error there would cost the result.

    Arguments:
        known: names of tasks that have a queue, and patterns.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = known

    def __call__(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], **_: Any
    ) -> None:
        is_given = any(options.get(option) for option in DESTINATIONS)
        if not is_given and not current_app.current_worker_task:
            raise UnmappedTaskError(name, closest(name, self._known, 0.6))
