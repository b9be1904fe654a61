"""The exchange, queues and routes that every producer and worker must declare alike.

SQS knows queues only: kombu keeps exchanges and bindings in the memory of each process. A
producer that does not declare what the worker declares publishes into nothing.

    send_task('add') -> topic exchange -+- routing key 'prod-add' -> work queue 'prod-add'
                                        +- every routing key '#'  -> platform queue
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kombu
from celery import signals

__all__ = ['CELERY_QUEUE', 'EXCHANGE', 'EXCHANGE_TYPE', 'PLATFORM_QUEUE', 'Topology', 'WorkQueue']

EXCHANGE = 'task_exchange'
EXCHANGE_TYPE = 'topic'
#: Takes Celery's own tasks (``celery.chord_unlock``, ``celery.backend_cleanup``, ...).
CELERY_QUEUE = 'celery'
#: Takes a copy of every task message, for the monitor, which keeps the table of tasks.
PLATFORM_QUEUE = 'platform.fifo'


class WorkQueue(kombu.Queue):
    """A queue that makes the rest of the topology known along with itself.

    Celery declares only the queue that a task is routed to. If the platform queue were
    left to a setting of each producer, a forgotten one would silently lose the copies. And a
    retry goes to the queue that the message came from: when that is not the mapped one, as after
    ``apply_async(queue=...)``, a process that never bound it would lose the task.
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
            # Asks nothing of SQS: kombu makes the queue when it sends the first message there.
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
    exchange: kombu.Exchange = field(init=False, compare=False)
    _siblings: tuple[kombu.Queue, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        exchange = kombu.Exchange(self.exchange_name, type=self.exchange_type)
        object.__setattr__(self, 'exchange', exchange)
        names = (self.celery, *self.work)
        siblings = tuple(kombu.Queue(name, exchange, routing_key=name) for name in names)
        object.__setattr__(self, '_siblings', siblings)

    def queues(self) -> list[WorkQueue]:
        """Return the kombu queues: Celery's, the platform's if there is one, the work queues."""
        platform = self.platform_queue()
        ours = [self._work_queue(name) for name in (self.celery, *self.work)]
        return ours if platform is None else [ours[0], platform, *ours[1:]]

    def platform_queue(self) -> WorkQueue | None:
        """Return the platform queue, bound to every routing key, or None when switched off."""
        if not self.platform:
            return None
        return WorkQueue(self.platform, self.exchange, routing_key='#', consumed=False)

    def routes_by_task(self, tasks: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return Celery routes for a mapping of task name to kombu queue name."""
        routes = {'celery.*': {'queue': self.celery}}
        return routes | {task: {'queue': queue} for task, queue in tasks.items()}

    def routes_by_pattern(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return Celery routes that send every task ``{queue}.*`` to its queue."""
        return {
            f'{name}.*': {
                'exchange': self.exchange,
                'routing_key': name,
                # Without it Celery declares nothing, and cannot tell where to unlock a chord.
                'queue': name,
            }
            for name in (self.celery, *names)
        }

    def _work_queue(self, name: str) -> WorkQueue:
        return WorkQueue(
            name,
            self.exchange,
            routing_key=name,
            platform=self.platform_queue(),
            siblings=self._siblings,
            consumed=name not in self.not_consumed,
        )


@signals.import_modules.connect
def _leave_alone(sender: Any, **_: Any) -> None:
    """Keep the app from consuming what is not to be consumed."""
    # A worker sends this signal before it looks at -Q and -X.
    queues = sender.amqp.queues
    queues.deselect([name for name, q in queues.items() if not getattr(q, 'consumed', True)])
