"""Tests that a Celery app follows the architecture: one test method per rule."""

from __future__ import annotations

import unittest
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import kombu
from celery import Celery
from celery.exceptions import QueueNotFound

from be_queue import naming
from be_queue.errors import MappingError, UnmappedTaskError
from be_queue.queues import Queues
from be_queue.redact import redact
from be_queue.testing.memory import MemoryBroker
from be_queue.topology import CELERY_QUEUE, EXCHANGE_TYPE, PLATFORM_QUEUE

__all__ = ['Declared', 'ProducerChecks', 'WorkerChecks']

CELERY_TASKS = ('celery.chord_unlock', 'celery.backend_cleanup')
NOT_INSTALLED = 'be_queue.results:NotInstalled'


class Declared:
    """The queues, routes and tasks that an app declares.

    Arguments:
        app: a producer's or worker's app; the modules that it includes are imported.
        mapping: the app's queue-task mapping; without it, that of a `be_queue.Config`, and
            without that, what ``task_routes`` says.
    """

    def __init__(self, app: Celery, mapping: Queues | None = None) -> None:
        app.loader.import_default_modules()
        self.app = app
        configured = app.conf.get('QUEUES') if mapping is None else mapping
        self.mapping = configured if isinstance(configured, Queues) else None
        #: A copy: Celery adds any queue that a task is sent to.
        self.queues: dict[str, kombu.Queue] = dict(app.amqp.queues)
        #: The app's own tasks: a worker has some, a producer has none.
        self.tasks = {name for name in app.tasks if not name.startswith('celery.')}
        self._router = app.amqp.Router(self.queues)
        #: Queues that get a copy of every message.
        self.platform = [name for name, queue in self.queues.items() if queue.routing_key == '#']
        self.work = [name for name in self.queues if name not in self.platform]
        exchanges = Counter(str(self.queues[name].exchange.name) for name in self.work)
        #: The exchange of most work queues.
        self.exchange = max(exchanges, key=exchanges.__getitem__, default='')

    def named(self, short_name: str) -> list[str]:
        """Return the queues of a short name: one, unless the name is ambiguous."""
        if self.mapping is not None:
            return [naming.sqs_name(self.mapping.prefix, short_name)]
        return [n for n in self.queues if n == short_name or n.endswith(f'-{short_name}')]

    def is_on_exchange(self, name: str) -> bool:
        """Return whether the queue is bound to the topic exchange that the others are bound to."""
        exchange = self.queues[name].exchange
        return bool(exchange.name == self.exchange and exchange.type == EXCHANGE_TYPE)

    def routed_tasks(self) -> set[str]:
        """Return a task name for each route and each mapped task; 'foo.probe' for 'foo.*'."""
        names = {name.replace('*', 'probe') for name in self._route_keys()}
        names |= {name for name in self.tasks if self._has_route(name)}
        return names | {queue.task for queue in self.mapping or ()}

    def destination(self, task: str) -> str | None:
        """Return the name of the declared queue that the task is for, None when there is none."""
        for queue in self.mapping or ():
            if queue.task == task and self.mapping is not None:
                name = self.mapping.sqs_name(queue)
                return name if name in self.queues else None
        try:
            route = self._router.route({}, task)
        except (QueueNotFound, UnmappedTaskError):
            return None
        if 'queue' in route:
            return str(route['queue'].name)
        key = route.get('routing_key')
        return next((name for name in self.work if self.queues[name].routing_key == key), None)

    def mapped_tasks(self) -> set[str]:
        """Return the tasks that the mapping has this app run; patterns name none."""
        if self.mapping is not None:
            return {queue.task for queue in self.mapping if queue.consume}
        consumed = self.app.amqp.queues.consume_from
        return {
            name
            for name in self._route_keys()
            if '*' not in name
            and not name.startswith('celery.')
            and self.destination(name) in consumed
        }

    def is_mapped(self, task: str) -> bool:
        """Return whether the mapping, or else some route, says which queue carries the task."""
        return self._has_route(task) if self.mapping is None else task in self.mapped_tasks()

    def _has_route(self, task: str) -> bool:
        try:
            return self._router.lookup_route(task, (), {}, {}, None) is not None
        except UnmappedTaskError:
            return False

    def _route_keys(self) -> Iterator[str]:
        routes: Any = self.app.conf.task_routes or ()
        for router in routes if isinstance(routes, (list, tuple)) else (routes,):
            if isinstance(router, Mapping):
                yield from router


class ProducerChecks(unittest.TestCase):
    """Rules for every app that sends tasks. A fault fails one method, not all that it touches."""

    declared: Declared

    def test_queue_names_fit_sqs(self) -> None:
        options = self.declared.app.conf.broker_transport_options or {}
        prefix = options.get('queue_name_prefix') or ''
        faults = []
        for name in self.declared.queues:
            try:
                naming.check_sqs_name(f'{prefix}{name}', f'the queue {name!r}')
            except MappingError as error:
                faults.append(str(error))
        self._fail_for(faults)

    def test_celery_queue_is_declared(self) -> None:
        if not self._celery_queues():
            self.fail(
                f"there is no queue for Celery's own tasks among {_listed(self.declared.queues)}: "
                "take task_queues from be_queue, or add a queue 'celery'"
            )

    def test_platform_queue_gets_every_message(self) -> None:
        queues, platform = self.declared.queues, self.declared.platform
        faults = [
            f"the platform queue {name!r} is bound to {queues[name].routing_key!r}: bind it to '#'"
            for name in self.declared.named(PLATFORM_QUEUE)
            if name in queues and name not in platform
        ]
        faults += self._apart(platform, 'the platform queue')
        if len(platform) > 1:
            faults.append(
                f"{_listed(platform)} are all bound to '#' and get a copy of every message: bind "
                'the work queues to their own names and leave one platform queue'
            )
        self._fail_for(faults)

    def test_work_queues_are_bound_to_one_topic_exchange(self) -> None:
        self._fail_for(self._apart(self.declared.work, 'the queue'))

    def test_tasks_reach_their_queue_and_the_platform_queue_only(self) -> None:
        declared = self.declared
        well_bound = [name for name in declared.queues if declared.is_on_exchange(name)]
        faults: list[str] = []
        with MemoryBroker() as all_declared:
            all_declared.declare(declared.queues[name] for name in well_bound)
            for task in sorted(declared.routed_tasks()):
                queue = declared.destination(task)
                if queue in well_bound:
                    # kombu knows only what a process has declared, and for its first task that
                    # is what Celery declares along with it.
                    with MemoryBroker() as nothing_declared:
                        faults += self._strays(task, queue, nothing_declared)
                    faults += self._strays(task, queue, all_declared)
                elif queue is None and not task.startswith('celery.'):
                    faults.append(
                        f'task {task!r} has no queue among {_listed(declared.queues)}: '
                        'fix its route, or add the queue that it names to task_queues'
                    )
        self._fail_for(faults)

    def test_celery_tasks_go_to_the_celery_queue(self) -> None:
        wanted = self._celery_queues()
        faults: list[str] = []
        for task in CELERY_TASKS if wanted else ():
            landed: set[str] = set()
            if self.declared.destination(task) is not None:
                with MemoryBroker() as broker:
                    landed = {*broker.send(self.declared.app, task)} - {*self.declared.platform}
            if not landed or landed - wanted:
                faults.append(
                    f'task {task!r} lands in {_listed(landed)} instead of {_listed(wanted)}: '
                    "add a route from 'celery.*' to that queue"
                )
        self._fail_for(faults)

    def test_results_are_stored(self) -> None:
        if self.declared.app.conf.task_ignore_result:
            self.fail('task_ignore_result is on, so no result is ever stored: switch it off')

    def test_results_are_in_a_database(self) -> None:
        backend = self.declared.app.conf.result_backend
        # None at all, as without the extra 'results', is fine for a producer that reads no
        # results: the workers store them all the same.
        if not _is_disabled(backend) and not str(backend).startswith('db+'):
            self.fail(
                f'result_backend is {redact(backend)!r}, but results are read from a database: '
                "set it to 'db+postgresql+psycopg://...', or leave it to be_queue.Config"
            )

    def _celery_queues(self) -> set[str]:
        return self.declared.queues.keys() & self.declared.named(CELERY_QUEUE)

    def _apart(self, names: Iterable[str], kind: str) -> list[str]:
        return [
            f'{kind} {name!r} is bound to the exchange {exchange.name!r} of type {exchange.type}: '
            f'bind all queues to {self.declared.exchange!r} of type topic, or the platform queue '
            'gets no copy of their messages'
            for name in names
            if not self.declared.is_on_exchange(name)
            for exchange in (self.declared.queues[name].exchange,)
        ]

    def _strays(self, task: str, queue: str, broker: MemoryBroker) -> Iterator[str]:
        landed = broker.send(self.declared.app, task)
        platform = [n for n in self.declared.platform if self.declared.is_on_exchange(n)]
        if len(platform) > 1:  # a fault of its own: which of them is right is not known here
            platform = [name for name in platform if name in landed]
        wanted = sorted({queue, *platform})
        if landed != wanted:
            yield (
                f'task {task!r} lands in {_listed(landed)} instead of {_listed(wanted)}: take '
                'task_queues and task_routes from be_queue, or give each queue a routing key of '
                'its own and have each work queue declare the platform queue'
            )

    def _fail_for(self, faults: Iterable[str]) -> None:
        if text := '\n'.join(faults):
            self.fail(text)


class WorkerChecks(ProducerChecks):
    """Rules for an app that runs tasks as well."""

    def test_results_are_stored(self) -> None:
        super().test_results_are_stored()
        backend = self.declared.app.conf.result_backend
        if _is_disabled(backend):
            self.fail(
                f'result_backend is {backend!r}, so no result is stored: set it, or leave it to '
                "be_queue.Config and pip install 'be-queue[results]'"
            )

    def test_tasks_are_acknowledged_late(self) -> None:
        self._fail_for(
            f'task {name!r} is acknowledged before it runs, and lost when its worker dies: '
            'switch task_acks_late on, and do not switch it off on the task'
            for name in sorted(self.declared.tasks)
            if not self.declared.app.tasks[name].acks_late
        )

    def test_tasks_of_a_lost_child_are_run_again(self) -> None:
        self._fail_for(
            f'task {name!r} is lost when the process that runs it is killed: switch '
            'task_reject_on_worker_lost on, and do not switch it off on the task'
            for name in sorted(self.declared.tasks)
            if not self.declared.app.tasks[name].reject_on_worker_lost
        )

    def test_every_mapped_task_is_registered(self) -> None:
        self._fail_for(
            f'task {name!r} is mapped to a queue, but this worker does not register it: define '
            'the task, fix its name, or set consume=False where another worker runs it'
            for name in sorted(self.declared.mapped_tasks() - self.declared.tasks)
        )

    def test_every_registered_task_is_mapped(self) -> None:
        self._fail_for(
            f'task {name!r} is registered, but no queue carries it: add '
            f'Queue(queue_name=..., task={name!r}) to the mapping, or a route to its queue'
            for name in sorted(self.declared.tasks)
            if not self.declared.is_mapped(name)
        )


def _is_disabled(backend: str | None) -> bool:
    return not backend or backend == NOT_INSTALLED or str(backend).startswith('disabled')


def _listed(names: Iterable[str]) -> str:
    return ', '.join(repr(name) for name in sorted(names)) or 'no queue'
