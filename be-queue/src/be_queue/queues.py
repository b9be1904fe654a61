"""The queue-task mapping: one task per queue, one queue per task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf

import kombu

from be_queue import naming
from be_queue.errors import MappingError
from be_queue.topology import CELERY_QUEUE, PLATFORM_QUEUE, Topology

__all__ = ['MAX_RECEIVES', 'Queue', 'Queues']

#: Receives after which SQS moves a message to the dead-letter queue. Not every receive is an
#: attempt: a deployment, a worker that is killed and an outage of the result database take one as
#: well, and must not cost sound messages. A message that kills its child does so ten times.
MAX_RECEIVES = 10


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One entry of the mapping.

    Arguments:
        queue_name: short name, of letters, digits, ``-`` and ``_``; may end in ``.fifo``.
        task: name of the one task that travels through this queue.
        ratelimit_name: name of the queue's limit in the rate-limit service; None is no limit.
        ratelimit: the limit where there is no service, such as ``100/minute``: messages of a
            second, minute, hour or day that the workers together receive; None is no limit.
            Queues with the same ``ratelimit_name`` share it.
        weight: while several queues have a backlog, this one's share of a worker's time beside the
            others'; above 0.
        max_receives: receives, 1 to 1000, after which SQS moves a message that nobody deleted to
            the queue's dead-letter queue. An attempt takes one; see `MAX_RECEIVES`.
        consume: False where this side only sends to the queue and another worker consumes it.

    Raises `MappingError` when a value cannot be used.
    """

    queue_name: str
    task: str
    ratelimit_name: str | None = None
    ratelimit: str | None = None
    weight: float = 1.0
    max_receives: int = MAX_RECEIVES
    consume: bool = True

    def __post_init__(self) -> None:
        naming.check_queue_name(self.queue_name, repr(self))
        weight, receives = self.weight, self.max_receives
        is_weight = isinstance(weight, (int, float)) and 0 < weight < inf
        is_count = type(receives) is int and 1 <= receives <= 1000
        self._check(_is_text(self.task), 'task must be the non-empty name of a task')
        # To Celery, '*' is a pattern for many tasks.
        self._check('*' not in self.task, "task holds '*': name the one task of this queue")
        self._check(is_weight, 'weight must be a number above 0, for example 2')
        self._check(is_count, f'max_receives must be 1 to 1000, for example {MAX_RECEIVES}')
        for field in ('ratelimit_name', 'ratelimit'):
            value = getattr(self, field)
            self._check(value is None or _is_text(value), f'{field} must be a text, or None')

    def _check(self, holds: bool, rule: str) -> None:
        if not holds:
            raise MappingError(f'{self!r}: {rule}')


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


class Queues:
    """The mapping that a worker and its producers share.

    Build it once for an environment, then hand the declarations to Celery:

        QUEUES = Queues([Queue(queue_name='add', task='add')])
        QUEUES.build_celery(env='prod')
        app.conf.task_queues = QUEUES.celery_task_queues()
        app.conf.task_routes = QUEUES.celery_task_routes()

    Raises `MappingError` for a queue name or a task in two entries.
    """

    def __init__(self, queues: Iterable[Queue]) -> None:
        self._given = self._queues = tuple(queues)
        self._prefix: str | None = None
        self._platform_queue_name = PLATFORM_QUEUE
        seen: dict[tuple[str, str], Queue] = {}
        for position, queue in enumerate(self._queues):
            entry = f'queues[{position}] {queue!r}'
            if not isinstance(queue, Queue):
                raise MappingError(f'{entry}: every entry must be a Queue')
            if queue.queue_name == CELERY_QUEUE:
                raise MappingError(
                    f"{entry}: queue_name 'celery' is added by itself for Celery's own tasks: "
                    'choose another'
                )
            for field in ('queue_name', 'task'):
                value = getattr(queue, field)
                if (first := seen.setdefault((field, value), queue)) is not queue:
                    raise MappingError(
                        f'{entry}: {field} {value!r} is taken by {first!r}; each queue carries one '
                        'task and each task has one queue'
                    )

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)

    def build_celery(
        self,
        env: str = naming.LOCAL_ENV,
        *,
        username: str | None = None,
        platform_queue_name: str = PLATFORM_QUEUE,
    ) -> Queues:
        """Fix the environment, and with it every queue's name on SQS; return the mapping itself.

        Arguments:
            env: the environment's name; ``'local'`` puts the user name in front of it.
            username: the first part of local names, by default the login name.
            platform_queue_name: the queue that gets a copy of every message; '' switches it off.

        Raises `MappingError` for an illegal ``env`` or for a queue whose name, or whose
        dead-letter queue's name, SQS would refuse.
        """
        prefix = naming.prefix(env, username)
        for queue in self:
            naming.check_sqs_name(naming.sqs_name(prefix, queue.queue_name), repr(queue))
        naming.check_sqs_name(naming.sqs_name(prefix, CELERY_QUEUE), f'the queue {CELERY_QUEUE!r}')
        self._check_platform(platform_queue_name, prefix)
        self._prefix, self._platform_queue_name = prefix, platform_queue_name
        return self

    def consume_only(self, queue_names: Collection[str] | None) -> None:
        """Have this side consume some queues, and only send to the others.

        Arguments:
            queue_names: short names; None for those whose entries have ``consume=True``.

        Raises `MappingError` for a name that is in no entry.
        """
        known = [queue.queue_name for queue in self]
        unknown = sorted({*(queue_names or ())}.difference(known))
        if unknown:
            raise MappingError(
                f'no queue of the mapping: {", ".join(unknown)}; it has {", ".join(known)}'
            )
        self._queues = self._given
        if queue_names is not None:
            self._queues = tuple(replace(q, consume=q.queue_name in queue_names) for q in self)

    @property
    def prefix(self) -> str:
        """The first part of every queue name: ``{env}`` or ``{username}-{env}``."""
        if self._prefix is None:
            raise MappingError(
                'the queue-task mapping has no environment yet: call '
                "QUEUES.build_celery(env='...') before using it"
            )
        return self._prefix

    @property
    def platform_queue_name(self) -> str:
        """Short name of the platform queue; '' when there is none."""
        return self._platform_queue_name

    def sqs_name(self, queue: Queue) -> str:
        """Return the queue's name on SQS."""
        return naming.sqs_name(self.prefix, queue.queue_name)

    def topology(self, platform_queue_name: str | None = None) -> Topology:
        """Return the declarations, under the queues' names on SQS.

        ``platform_queue_name`` replaces the one given to `build_celery`.
        """
        platform = self._platform_queue_name if platform_queue_name is None else platform_queue_name
        self._check_platform(platform, self.prefix)
        return Topology(
            work=tuple(self.sqs_name(queue) for queue in self),
            celery=naming.sqs_name(self.prefix, CELERY_QUEUE),
            platform=platform and naming.sqs_name(self.prefix, platform),
            not_consumed=tuple(self.sqs_name(queue) for queue in self if not queue.consume),
        )

    def celery_task_queues(self) -> list[kombu.Queue]:
        """Return the value for Celery's ``task_queues``."""
        return self.topology().queues()

    def celery_task_routes(self) -> dict[str, dict[str, str]]:
        """Return the value for Celery's ``task_routes``."""
        return self.topology().routes({queue.task: self.sqs_name(queue) for queue in self})

    def check_registered(self, task_names: Collection[str]) -> None:
        """Raise `MappingError` unless a worker's tasks and the mapping name each other.

        Arguments:
            task_names: every task that the worker registered; Celery's own are left out.
        """
        registered = {name for name in task_names if not name.startswith('celery.')}
        faults = [
            f'{queue!r} maps task {queue.task!r}, which this worker does not register: '
            'define the task or fix its name in the mapping'
            for queue in self
            if queue.consume and queue.task not in registered
        ]
        # All entries count, since workers of other queues may run the same code.
        mapped = {queue.task for queue in (*self, *self._given) if queue.consume}
        faults += [
            f'task {name!r} is registered, but no queue carries it: add '
            f'Queue(queue_name=..., task={name!r}) to the mapping'
            for name in sorted(registered - mapped)
        ]
        if faults:
            raise MappingError('\n'.join(faults))

    def _check_platform(self, name: str, prefix: str) -> None:
        if not name:
            return
        entry = f'platform_queue_name={name!r}'
        naming.check_queue_name(name, entry)
        naming.check_sqs_name(naming.sqs_name(prefix, name), entry)
        if name in (CELERY_QUEUE, *(queue.queue_name for queue in self)):
            raise MappingError(
                f'{entry}: the queue {name!r} has another use, and the platform queue gets a copy '
                'of every message: rename one of them'
            )
