"""Processes of a worker under load that are killed or stopped: no task is lost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from be_queue.testing.processes import alive, kill
from be_queue.testing.waiting import wait_until
from tests.soak.table import Row
from tests.support.counted import Counted
from tests.support.worker import Server, Worker

__all__ = ['killed_children', 'killed_workers', 'lost_machines', 'stopped_workers']

T = TypeVar('T', bound=Worker)

#: Seconds that each task takes.
TASK = 0.005
CHILDREN = 4
#: Seconds after which a killed worker's messages come back.
VISIBILITY_TIMEOUT = 10


def killed_children(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Kill a child in each round of ``tasks``, at a random moment of the load."""
    bound = 0
    with counted.worker(**_variables(visibility_timeout)) as worker:
        for _ in range(rounds):
            done = counted.ended()
            with counted.sending(tasks, TASK):
                _wait_under_load(counted, done, tasks)
                children = worker.pool_pids()
                kill(random.choice(children))
                # Its messages: those in its hand, and in the pipe behind it.
                bound += counted.sqs.in_flight(counted.queue)
                wait_until(lambda c=children: worker.pool_pids() != c, 'it is replaced')
            wait_until(
                lambda: counted.ended() == len(counted.sent), 'every task has run', timeout=90
            )
        counted.wait_all_run()
    return Row(f'SIGKILL on a child, {rounds} rounds', counted.tally(), bound)


def killed_workers(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Kill the main process of a worker in each round of ``tasks``, and start another."""

    def end(server: Server) -> int:
        pid, pids = server.pid_of('celery'), list(server.processes())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), 'it is gone')
        # At once: the end of the other processes may outlast the visibility timeout.
        in_flight = counted.sqs.in_flight(counted.queue)
        assert server.wait_ended() == 1
        wait_until(lambda: not any(map(alive, pids)), 'all of its processes are gone')
        return in_flight

    # With a supervisor, which ends the children.
    variables = _variables(visibility_timeout)
    in_flight = _ended(counted, rounds, tasks, lambda: counted.server(**variables), end)
    _finished(counted, rounds * tasks, variables)
    return Row(f'SIGKILL on the main process, {rounds} rounds', counted.tally(), in_flight)


def lost_machines(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Kill every process of a server in each round of ``tasks``, and start another."""

    def end(server: Server) -> int:
        # The supervisor first: it would end the others in order.
        for pid in (server.process.pid, *server.processes()):
            kill(pid)
        return counted.sqs.in_flight(counted.queue)

    variables = _variables(visibility_timeout)
    in_flight = _ended(counted, rounds, tasks, lambda: counted.server(**variables), end)
    _finished(counted, rounds * tasks, variables)
    return Row(f'SIGKILL on every process, {rounds} rounds', counted.tally(), in_flight)


def stopped_workers(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Send SIGTERM to a worker in each round of ``tasks``, and start another."""

    def end(worker: Worker) -> int:
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == 0
        return counted.sqs.in_flight(counted.queue)

    variables = _variables(visibility_timeout)
    hidden = _ended(counted, rounds, tasks, lambda: counted.worker(**variables), end)
    _finished(counted, rounds * tasks, variables)
    return Row(
        f'SIGTERM under load, {rounds} rounds', counted.tally(), 0, f'hidden after it: {hidden}'
    )


def _ended(
    counted: Counted,
    rounds: int,
    tasks: int,
    start: Callable[[], AbstractContextManager[T]],
    end: Callable[[T], int],
) -> int:
    """Return the sum of what ``end`` found in flight."""
    in_flight = 0
    for _ in range(rounds):
        with start() as worker:
            done = counted.ended()
            with counted.sending(tasks, TASK):
                _wait_under_load(counted, done, tasks)
                in_flight += end(worker)
    return in_flight


def _finished(counted: Counted, tasks: int, variables: dict[str, Any]) -> None:
    with counted.worker(**variables):
        counted.wait_all_run(timeout=60 + tasks / 50)


def _variables(visibility_timeout: int) -> dict[str, Any]:
    options = {'visibility_timeout': visibility_timeout, 'wait_time_seconds': 1}
    return {
        'CELERY_WORKER_CONCURRENCY': CHILDREN,
        'CELERY_BROKER_TRANSPORT_OPTIONS': options,
    }


def _wait_under_load(counted: Counted, done: int, tasks: int) -> None:
    """Wait until a random part of a round's tasks has run."""
    part = random.uniform(0.1, 0.6)
    wait_until(lambda: counted.ended() >= done + part * tasks, 'a part has run', timeout=90)
