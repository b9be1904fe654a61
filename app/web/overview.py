"""What the dashboard shows, gathered within a second whatever hangs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import cast

from celery import Celery

from app.config.configuration import WorkerConfig
from app.local import first_task_command
from app.utils import heartbeat
from app.utils.heartbeat import Heartbeat, State
from app.web.checks import Check, faults
from app.web.counts import Counts, CountsProbe
from app.web.depths import Depth, DepthPoller
from app.web.health import stuck
from app.web.process_metrics import ProcessCollector
from app.web.task_list import TaskLine, TaskListProbe
from be_queue import Queues
from be_queue.naming import dead_letter_name
from be_queue.redact import redact
from be_queue.transport.poller import State as PollerState

__all__ = ['Gatherer', 'Overview', 'QueueLine', 'Worker', 'queues_by_name']

#: States of a poller that does not ask for messages though it could take some.
HELD_BACK = (PollerState.THROTTLED.value, PollerState.BACKING_OFF.value)


@dataclass(frozen=True)
class Worker:
    """How the worker is.

    Arguments:
        state: a `heartbeat.State`, 'stuck' or 'not started'.
        fault: what is wrong, None when all is well.
        age: seconds since the last heartbeat.
    """

    state: str
    fault: str | None = None
    pid: int | None = None
    age: float | None = None


@dataclass(frozen=True)
class QueueLine:
    """A queue of this worker.

    Arguments:
        task: the task that travels through it.
        name, dead_letter_name: on SQS.
        depth: messages in both; None when not known.
        counts: what this worker did with its messages; None when not known.
        held_back: why it is not polled just now, None when it is.
    """

    task: str
    name: str
    dead_letter_name: str
    depth: Depth | None
    counts: Counts | None
    held_back: str | None = None


@dataclass(frozen=True)
class Overview:
    """The whole page.

    Arguments:
        servers: the fault of each server, None when it answers.
        platform: the platform queue's name and its depth; None when off.
        tasks: the latest first; None when they cannot be read, with the fault beside it.
        first_task: the command that sends one; None when the demo tasks are gone.
    """

    service: str
    env: str
    worker: Worker
    servers: Mapping[str, str | None]
    queues: Sequence[QueueLine]
    platform: tuple[str, Depth | None] | None
    tasks: Sequence[TaskLine] | None
    tasks_fault: str | None
    first_task: str | None

    @property
    def total(self) -> Counts | None:
        """The counts of all queues together."""
        counts = [queue.counts for queue in self.queues if queue.counts]
        return reduce(add, counts) if counts else None

    @property
    def waiting(self) -> int | None:
        """The messages that wait in all queues together; None when one is not known."""
        depths = [queue.depth.visible for queue in self.queues if queue.depth]
        return sum(depths) if len(depths) == len(self.queues) else None


class Gatherer:
    """Makes an `Overview`.

    Arguments:
        worker_config: the worker's settings.
        celery_app: leads to the results.
        servers: checks of broker and results.
        depths: of the queues.
        processes: collects what they have counted.
    """

    def __init__(
        self,
        worker_config: WorkerConfig,
        celery_app: Celery,
        servers: Sequence[Check],
        depths: DepthPoller,
        processes: ProcessCollector,
    ) -> None:
        self._config = worker_config.APP
        self._queues = queues_by_name(worker_config)
        self._platform = worker_config.TOPOLOGY.platform
        self._depths = depths
        self._counts = CountsProbe(self._config.prefix, processes)
        self._tasks = TaskListProbe(celery_app)
        self._servers = servers
        self._probes = [
            Check('depths', self._depths.refresh),
            Check('counts', self._counts),
            Check('tasks', self._tasks),
        ]

    def __call__(self) -> Overview:
        """Return what is known within the patience of `app.web.checks`."""
        found = faults([*self._servers, *self._probes])
        servers = {check.name: redact(found[check.name]) for check in self._servers}
        known = found['counts'] is None
        beat = heartbeat.read(self._config.heartbeat_path)
        queues = [
            QueueLine(
                task=task,
                name=name,
                dead_letter_name=dead_letter_name(name),
                depth=self._depths.depth(name),
                counts=self._counts.by_queue.get(name, Counts()) if known else None,
                held_back=_held_back(beat, name),
            )
            for name, task in self._queues.items()
        ]
        platform = self._platform and (self._platform, self._depths.depth(self._platform))
        return Overview(
            service=self._config.service_name,
            env=self._config.env,
            worker=_worker(beat),
            servers=servers,
            queues=queues,
            platform=platform or None,
            tasks=self._tasks.tasks if found['tasks'] is None else None,
            tasks_fault=redact(found['tasks']),
            first_task=first_task_command(self._queues.values()),
        )


def queues_by_name(worker_config: WorkerConfig) -> dict[str, str]:
    """Return the queues that this worker consumes: names on SQS, each with its task."""
    queues = cast(Queues, worker_config.QUEUES)
    consumed = {queues.sqs_name(queue): queue.task for queue in queues if queue.consume}
    return consumed | {worker_config.TOPOLOGY.celery: "Celery's own"}


def _worker(beat: Heartbeat | None) -> Worker:
    fault = stuck(beat)
    if beat is None:
        return Worker('not started', fault)
    if fault is None and beat.state is not State.CONSUMING:
        fault = f'the worker is {beat.state.value}'
    state = 'stuck' if stuck(beat) else beat.state.value
    return Worker(state, fault, beat.pid, beat.age)


def _held_back(beat: Heartbeat | None, queue: str) -> str | None:
    poller = beat.pollers.get(queue) if beat else None
    return poller.state if poller and poller.state in HELD_BACK else None
