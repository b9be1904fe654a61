"""The exchange, queues and routes that every producer and worker must declare alike.

SQS knows queues only: kombu keeps exchanges and bindings in the memory of each process. A
producer that does not declare what the worker declares publishes into nothing.

    send_task('add') -> topic exchange -+- routing key 'prod-add' -> work queue 'prod-add'
                                        +- every routing key '#'  -> platform queue
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import kombu
from celery import current_app, signals

from be_queue.environment import closest
from be_queue.errors import UnmappedTaskError

__all__ = [
    'CELERY_QUEUE',
    'EXCHANGE',
    'EXCHANGE_TYPE',
    'PLATFORM_QUEUE',
    'Topology',
    'WorkQueue',
    'refuse_unmapped',
]

EXCHANGE = 'task_exchange'
EXCHANGE_TYPE = 'topic'
#: Takes Celery's own tasks (``celery.chord_unlock``, ``celery.backend_cleanup``, ...).
CELERY_QUEUE = 'celery'
#: Takes a copy of every task message, for the monitor, which keeps the table of tasks.
PLATFORM_QUEUE = 'platform.fifo'


class WorkQueue(kombu.Queue):
    """A queue that declares the rest of the topology along with itself.

    Celery declares only the queue that a task is routed to: the platform queue would get no copy.
    And a retry goes to the queue that the message came from. When that is not the mapped one, as
    after ``apply_async(queue=...)``, a process that never bound it would lose the task.
    """

    attrs = (*kombu.Queue.attrs, ('platform', None), ('siblings', None), ('consumed', None))
    #: Whether workers consume it that are not told which queues to take (``-Q``).
    consumed = True

    def declare(self, nowait: bool = False, channel: Any = None) -> str:
        channel = channel or self.channel
        if self.platform is not None:
            self.platform.bind(channel).declare(nowait=nowait)
        name: str = super().declare(nowait=nowait, channel=channel)
        for sibling in self.siblings or ():
            # No request: kombu makes the queue on SQS when it sends the first message there.
            sibling.bind(channel).queue_bind(nowait=nowait)
        return name


@dataclass(frozen=True)
class Topology:
    """The exchange, queues and routes for work queues with these names.

    Arguments:
        work: kombu names of the work queues.
        celery: kombu name of the queue for Celery's own tasks.
        platform: kombu name of the platform queue, '' for none.
        exchange_name, exchange_type: the exchange between them.
        not_consumed: kombu names of the work queues that this side only sends to.
    """

    work: tuple[str, ...]
    celery: str = CELERY_QUEUE
    platform: str = PLATFORM_QUEUE
    exchange_name: str = EXCHANGE
    exchange_type: str = EXCHANGE_TYPE
    not_consumed: tuple[str, ...] = ()

    def queues(self) -> list[WorkQueue]:
        """Return the kombu queues: Celery's, the work queues, and the platform's if any."""
        exchange, platform = self._exchange(), self.platform_queue()
        names = (self.celery, *self.work)
        siblings = tuple(kombu.Queue(name, exchange, routing_key=name) for name in names)
        queues = [
            WorkQueue(
                name,
                exchange,
                routing_key=name,
                platform=platform,
                siblings=siblings,
                consumed=name not in self.not_consumed,
            )
            for name in names
        ]
        return queues if platform is None else [*queues, platform]

    def platform_queue(self) -> WorkQueue | None:
        """Return the platform queue, bound to every routing key, or None when switched off."""
        if not self.platform:
            return None
        return WorkQueue(self.platform, self._exchange(), routing_key='#', consumed=False)

    def routes(self, queue_names: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Return Celery routes, given the kombu name of each task's queue; ``x.*`` is a pattern."""
        by_task = {'celery.*': self.celery, **queue_names}
        return {task: {'queue': queue} for task, queue in by_task.items()}

    def _exchange(self) -> kombu.Exchange:
        return kombu.Exchange(self.exchange_name, type=self.exchange_type)


def refuse_unmapped(known: Collection[str]) -> Callable[..., None]:
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


@signals.import_modules.connect
def _deselect_not_consumed(sender: Any, **_: Any) -> None:
    # A worker sends this signal before it looks at -Q and -X.
    queues = sender.amqp.queues
    queues.deselect([name for name, q in queues.items() if not getattr(q, 'consumed', True)])
