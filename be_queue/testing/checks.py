"""What the architecture asks of a Celery app: one test method per demand."""

from __future__ import annotations

import unittest
from collections.abc import Iterable, Iterator

import kombu

from be_queue import naming
from be_queue.errors import MappingError
from be_queue.redact import redact
from be_queue.testing.declared import CELERY_TASKS, Declared
from be_queue.testing.memory import MemoryBroker

__all__ = ['ProducerChecks', 'WorkerChecks']

INTERNAL_TASKS = ('celery.chord_unlock', 'celery.backend_cleanup')
NOT_INSTALLED = 'be_queue.results:NotInstalled'
DATABASE_SCHEME = 'db+'


class ProducerChecks(unittest.TestCase):
    """What holds for every app that sends tasks. A fault fails one method, not all it touches."""

    declared: Declared

    def test_queue_names_fit_sqs(self) -> None:
        faults = []
        for name in self.declared.queues:
            try:
                naming.check_sqs_name(self.declared.prefix + name, f'the queue {name!r}')
            except MappingError as error:
                faults.append(str(error))
        self._fail_for(faults)

    def test_celery_queue_is_declared(self) -> None:
        if not self.declared.celery_queues:
            self.fail(
                f"there is no queue for Celery's own tasks among {_listed(self.declared.queues)}: "
                "take task_queues from be_queue, or add a queue 'celery'"
            )

    def test_platform_queue_gets_every_message(self) -> None:
        queues, platform = self.declared.queues, self.declared.platform_queues
        faults = [
            f"the platform queue {name!r} is bound to {queues[name].routing_key!r}: bind it to '#'"
            for name in self.declared.misbound_platform_queues
        ]
        faults += [
            f'the platform queue {name!r} is bound to {_exchange(queues[name])}: bind it to '
            f'{self.declared.exchange!r} of type topic, where the work queues are'
            for name in platform
            if not self.declared.is_on_exchange(name)
        ]
        if len(platform) > 1:
            faults.append(
                f"{_listed(platform)} are all bound to '#' and get a copy of every message: bind "
                'the work queues to their own names and leave one platform queue'
            )
        self._fail_for(faults)

    def test_work_queues_are_bound_to_one_topic_exchange(self) -> None:
        self._fail_for(
            f'the queue {name!r} is bound to {_exchange(queue)}: bind all queues to one exchange '
            'of type topic, or the platform queue gets no copy of its messages'
            for name, queue in self.declared.work_queues.items()
            if not self.declared.is_on_exchange(name)
        )

    def test_tasks_reach_their_queue_and_the_platform_queue_only(self) -> None:
        well_bound = [n for n in self.declared.queues if self.declared.is_on_exchange(n)]
        faults: list[str] = []
        with MemoryBroker() as all_declared:
            all_declared.declare(self.declared.queues[name] for name in well_bound)
            for task in self.declared.routed_tasks():
                queue = self.declared.destination(task)
                if queue in well_bound:
                    # kombu knows only what a process has declared, and for its first task that
                    # is what Celery declares along with it.
                    with MemoryBroker() as nothing_declared:
                        faults += self._strays(task, queue, nothing_declared)
                    faults += self._strays(task, queue, all_declared)
                elif queue is None and not task.startswith(CELERY_TASKS):
                    faults.append(
                        f'task {task!r} has no queue among {_listed(self.declared.queues)}: '
                        'mend its route, or add the queue that it names to task_queues'
                    )
        self._fail_for(faults)

    def test_celery_tasks_go_to_the_celery_queue(self) -> None:
        celery_queues = self.declared.celery_queues
        faults: list[str] = []
        for task in INTERNAL_TASKS if celery_queues else ():
            landed = set()
            if self.declared.destination(task) is not None:
                with MemoryBroker() as broker:
                    landed = set(broker.send(self.declared.app, task))
            landed -= set(self.declared.platform_queues)
            if not landed or landed - celery_queues:
                faults.append(
                    f'task {task!r} lands in {_listed(landed)} instead of '
                    f"{_listed(celery_queues)}: add a route from 'celery.*' to that queue"
                )
        self._fail_for(faults)

    def test_results_are_stored(self) -> None:
        if self.declared.app.conf.task_ignore_result:
            self.fail('task_ignore_result is on, so no result is ever stored: switch it off')

    def test_results_are_in_a_database(self) -> None:
        backend = self.declared.app.conf.result_backend
        # None at all, as without the extra 'results', is fine for a producer that reads no
        # results: the workers store them all the same.
        if not _is_disabled(backend) and not str(backend).startswith(DATABASE_SCHEME):
            self.fail(
                f'result_backend is {redact(backend)!r}, but results are read from a database: '
                "set it to 'db+postgresql+psycopg://...', or leave it to be_queue.Config"
            )

    def _strays(self, task: str, queue: str, broker: MemoryBroker) -> Iterator[str]:
        landed = broker.send(self.declared.app, task)
        platform = [n for n in self.declared.platform_queues if self.declared.is_on_exchange(n)]
        if len(platform) > 1:  # a fault of its own: which of them is right is not known here
            platform = [name for name in platform if name in landed]
        wanted = sorted({queue, *platform})
        if landed != wanted:
            yield (
                f'task {task!r} lands in {_listed(landed)} instead of {_listed(wanted)}: take '
                'task_queues and task_routes from be_queue, or else give each queue a routing key '
                'of its own and have each work queue declare the platform queue'
            )

    def _fail_for(self, faults: Iterable[str]) -> None:
        text = '\n'.join(faults)
        if text:
            self.fail(text)


class WorkerChecks(ProducerChecks):
    """What holds for an app that runs tasks as well."""

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
            'the task, mend its name, or say consume=False where another worker runs it'
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


def _exchange(queue: kombu.Queue) -> str:
    return f'the exchange {queue.exchange.name!r} of type {queue.exchange.type}'


def _listed(names: Iterable[str]) -> str:
    return ', '.join(repr(name) for name in sorted(names)) or 'no queue'
