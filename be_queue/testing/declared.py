"""What a Celery app declares: queues, routes and tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import kombu
from celery import Celery
from celery.exceptions import QueueNotFound

from be_queue import naming
from be_queue.errors import UnmappedTaskError
from be_queue.queues import Queues
from be_queue.topology import CELERY_QUEUE, EXCHANGE_TYPE, PLATFORM_QUEUE

__all__ = ['CELERY_TASKS', 'Declared']

#: What the names of Celery's own tasks start with.
CELERY_TASKS = 'celery.'
EVERY_MESSAGE = '#'


class Declared:
    """The declarations of an app at one moment.

    Arguments:
        app: a producer's or worker's app; the modules that it includes are imported.
        mapping: the app's queue-task mapping; without it, that of a `be_queue.Config`, and
            without that, what ``task_routes`` says.
    """

    def __init__(self, app: Celery, mapping: Queues | None = None) -> None:
        app.loader.import_default_modules()
        self.app = app
        if mapping is None:
            configured = app.conf.get('QUEUES')
            mapping = configured if isinstance(configured, Queues) else None
        self.mapping = mapping
        #: A copy: Celery adds to its own whatever queue a task is sent to.
        self.queues: dict[str, kombu.Queue] = dict(app.amqp.queues)
        self.consumed = set(app.amqp.queues.consume_from)
        #: The app's own tasks: a worker has some, a producer has none.
        self.tasks = {name for name in app.tasks if not name.startswith(CELERY_TASKS)}
        self._router = app.amqp.Router(self.queues)

    @property
    def prefix(self) -> str:
        """What the transport puts before each name on SQS."""
        options = self.app.conf.broker_transport_options or {}
        return str(options.get('queue_name_prefix') or '')

    @property
    def celery_queues(self) -> set[str]:
        """Names of the queues for Celery's own tasks: one, unless a name is ambiguous."""
        if self.mapping is not None:
            wanted = naming.sqs_name(self.mapping.prefix, CELERY_QUEUE)
            return {wanted} & self.queues.keys()
        return {name for name in self.queues if _is_named(name, CELERY_QUEUE)}

    @property
    def platform_queues(self) -> list[str]:
        """Names of the queues that get a copy of every message."""
        return [name for name, queue in self.queues.items() if queue.routing_key == EVERY_MESSAGE]

    @property
    def misbound_platform_queues(self) -> list[str]:
        """Names of the queues that are called the platform's and do not get every message."""
        names = (name for name in self.queues if _is_named(name, PLATFORM_QUEUE))
        return [name for name in names if name not in self.platform_queues]

    @property
    def work_queues(self) -> dict[str, kombu.Queue]:
        """All queues but the platform's."""
        return {n: queue for n, queue in self.queues.items() if n not in self.platform_queues}

    @property
    def exchange(self) -> str:
        """Name of the exchange that most work queues are bound to."""
        names = Counter(str(queue.exchange.name) for queue in self.work_queues.values())
        return max(names, key=names.__getitem__, default='')

    def is_on_exchange(self, name: str) -> bool:
        """Return whether the queue is bound to the topic exchange that the others are bound to."""
        exchange = self.queues[name].exchange
        return bool(exchange.name == self.exchange and exchange.type == EXCHANGE_TYPE)

    def routed_tasks(self) -> list[str]:
        """Return a task name for each route and each mapped task; 'foo.probe' for 'foo.*'."""
        names = {name.replace('*', 'probe') for name in self._route_keys()}
        names |= {name for name in self.tasks if self._has_route(name)}
        return sorted(names | {queue.task for queue in self.mapping or ()})

    def destination(self, task: str) -> str | None:
        """Return the name of the declared queue that the task is for, None when there is none."""
        if self.mapping is not None:
            mapped = {queue.task: self.mapping.sqs_name(queue) for queue in self.mapping}
            if task in mapped:
                return mapped[task] if mapped[task] in self.queues else None
        try:
            route = self._router.route({}, task)
        except (QueueNotFound, UnmappedTaskError):
            return None
        if 'queue' in route:
            return str(route['queue'].name)
        key = route.get('routing_key')
        return next((n for n, queue in self.work_queues.items() if queue.routing_key == key), None)

    def mapped_tasks(self) -> set[str]:
        """Return the tasks that the mapping has this app run; patterns name none."""
        if self.mapping is not None:
            return {queue.task for queue in self.mapping if queue.consume}
        named = {name for name in self._route_keys() if '*' not in name}
        return {
            name
            for name in named
            if not name.startswith(CELERY_TASKS) and self.destination(name) in self.consumed
        }

    def is_mapped(self, task: str) -> bool:
        """Return whether the mapping, or else some route, says which queue carries the task."""
        if self.mapping is not None:
            return task in self.mapped_tasks()
        return self._has_route(task)

    def _has_route(self, task: str) -> bool:
        try:
            return self._router.lookup_route(task, (), {}, {}, None) is not None
        except UnmappedTaskError:
            return False

    def _route_keys(self) -> Iterator[str]:
        routes: Any = self.app.conf.task_routes or ()
        for router in routes if isinstance(routes, (list, tuple)) else (routes,):
            if isinstance(router, Mapping):
                keys = list(router)
            elif isinstance(router, (list, tuple)):
                keys = [key for key, _ in router]
            else:  # a function, or the name of one
                keys = []
            # A compiled pattern does not tell what it matches.
            yield from (key for key in keys if isinstance(key, str))


def _is_named(full_name: str, short_name: str) -> bool:
    return full_name == short_name or full_name.endswith(f'-{short_name}')
