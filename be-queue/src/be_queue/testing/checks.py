"""Tests that a Celery app follows the architecture: one test method per rule."""

from __future__ import annotations

import unittest
from collections.abc import Iterable

import kombu
from celery import Celery
from celery.exceptions import QueueNotFound

from be_queue import naming
from be_queue.errors import MappingError, SettingError, UnmappedTaskError
from be_queue.queues import Queues
from be_queue.redact import redact
from be_queue.testing.memory import MemoryBroker

__all__ = ['Declared', 'ProducerChecks', 'WorkerChecks']

CELERY_TASKS = ('celery.chord_unlock', 'celery.backend_cleanup')
NOT_INSTALLED = 'be_queue.results:NotInstalled'


class Declared:
    """The queues and tasks of an app; arguments are those of `build_functional_tests`."""

    def __init__(self, app: Celery, mapping: Queues | None = None) -> None:
        app.loader.import_default_modules()
        self.app = app
        #: A copy: Celery adds any queue that a task is sent to.
        self.queues: dict[str, kombu.Queue] = dict(app.amqp.queues)
        #: The app's own tasks: a worker has some, a producer has none.
        self.tasks = {name for name in app.tasks if not name.startswith('celery.')}
        self.mapping = app.conf.get('QUEUES') if mapping is None else mapping
        if self.mapping is None:
            raise SettingError(
                'build_functional_tests: this app has no settings of be_queue.Config: pass its '
                'mapping too, build_functional_tests(app, QUEUES)'
            )
        self.topology = app.conf.TOPOLOGY if mapping is None else mapping.topology()

    def destinations(self) -> dict[str, str]:
        """Return the queue of each task that may be sent; 'foo.probe' stands for all of 'foo.*'."""
        found = dict.fromkeys(CELERY_TASKS, self.topology.celery)
        if isinstance(self.mapping, Queues):
            return found | {queue.task: self.mapping.sqs_name(queue) for queue in self.mapping}
        return found | {f'{name}.probe': name for name in self.topology.work}


class ProducerChecks(unittest.TestCase):
    """Rules for every app that sends tasks."""

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

    def test_queues_are_declared_and_bound(self) -> None:
        self._fail_for(self._misdeclared())

    def test_tasks_reach_their_queue_and_the_platform_queue_only(self) -> None:
        if self._misdeclared():
            self.skipTest('see test_queues_are_declared_and_bound')
        faults = set()
        with MemoryBroker() as all_declared:
            all_declared.declare(self.declared.queues.values())
            for task, queue in self.declared.destinations().items():
                # kombu knows only what a process has declared, and for its first task that is what
                # Celery declares along with it.
                with MemoryBroker() as nothing_declared:
                    faults |= {*self._strays(task, queue, nothing_declared)}
                faults |= {*self._strays(task, queue, all_declared)}
        self._fail_for(sorted(faults))

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

    def _misdeclared(self) -> list[str]:
        return [
            f'the queue {wanted.name!r} is {_shown(queue)}, and must be {_shown(wanted)}: take '
            'task_queues from be_queue'
            for wanted in self.declared.topology.queues()
            for queue in (self.declared.queues.get(wanted.name),)
            if _shown(queue) != _shown(wanted)
        ]

    def _strays(self, task: str, queue: str, broker: MemoryBroker) -> Iterable[str]:
        wanted = sorted({queue, self.declared.topology.platform} - {''})
        try:
            landed = broker.send(self.declared.app, task)
        except (QueueNotFound, UnmappedTaskError):
            landed = []
        if landed != wanted:
            yield (
                f'task {task!r} lands in {_listed(landed)} instead of {_listed(wanted)}: take '
                'task_queues and task_routes from be_queue, and give no two queues one routing key'
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
        self._fail_without('acks_late', 'is acknowledged before it runs, and lost with its worker')

    def test_tasks_of_a_lost_child_are_run_again(self) -> None:
        self._fail_without('reject_on_worker_lost', 'is lost when its process is killed')

    def _fail_without(self, option: str, fault: str) -> None:
        self._fail_for(
            f'task {name!r} {fault}: switch task_{option} on, and do not switch it off on the task'
            for name in sorted(self.declared.tasks)
            if not getattr(self.declared.app.tasks[name], option)
        )

    def test_every_mapped_task_is_registered_and_no_other(self) -> None:
        tasks, mapping = self.declared.tasks, self.declared.mapping
        if isinstance(mapping, Queues):
            try:
                mapping.check_registered(tasks)
            except MappingError as error:
                self.fail(str(error))
            return
        prefixes = tuple(f'{name}.' for name in self.declared.topology.work)
        self._fail_for(
            f'task {name!r} is registered, but no queue carries it: begin its name with one of '
            f'{_listed(prefixes)}, or add its queue'
            for name in sorted(tasks)
            if not name.startswith(prefixes)
        )


def _shown(queue: kombu.Queue | None) -> str:
    if queue is None:
        return 'not declared'
    exchange = queue.exchange
    return f'bound to {queue.routing_key!r} of the {exchange.type} exchange {exchange.name!r}'


def _is_disabled(backend: str | None) -> bool:
    return not backend or backend == NOT_INSTALLED or str(backend).startswith('disabled')


def _listed(names: Iterable[str]) -> str:
    return ', '.join(repr(name) for name in sorted(names)) or 'no queue'
