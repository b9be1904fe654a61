"""Processes of a worker under load that are killed or stopped: no task is lost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Any

from be_queue.testing.processes import alive, kill
from be_queue.testing.waiting import wait_until
from tests.soak.table import Row
from tests.support.counted import Counted, Tally
from tests.support.worker import Server

__all__ = ['killed_children', 'killed_workers', 'stopped_workers']

#: Seconds that each task takes.
TASK = 0.005
CHILDREN = 4
#: Seconds after which a killed worker's messages come back.
VISIBILITY_TIMEOUT = 10


def killed_children(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Kill a child in each round, at a random moment of the load.

    Arguments:
        tasks: those of each round.
        visibility_timeout: in seconds.
    """
    bound = 0
    with counted.server(**_variables(visibility_timeout)) as server:
        for _ in range(rounds):
            done = counted.ended()
            with counted.sending(tasks, TASK):
                _wait_under_load(counted, done, tasks)
                children = server.pool_pids()
                kill(random.choice(children))
                # What a child had, in hand and in the pipe behind it.
                bound += counted.sqs.in_flight(counted.queue)
                wait_until(lambda c=children: server.pool_pids() != c, 'it is replaced')
            wait_until(
                lambda: counted.ended() == len(counted.sent), 'every task has run', timeout=90
            )
        counted.wait_all_run()
    return _row('SIGKILL on a child', rounds, counted.tally(), bound)


def killed_workers(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Kill the main process of a worker in each round, and start anew.

    Arguments:
        tasks: those of each round.
        visibility_timeout: in seconds.
    """

    def end(server: Server) -> int:
        pid = server.pid_of('celery')
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), 'it is gone')
        # At once: the end of the other processes may outlast the visibility timeout.
        in_flight = counted.sqs.in_flight(counted.queue)
        assert server.wait_ended() == 1
        return in_flight

    tally, in_flight = _ended_workers(counted, rounds, tasks, _variables(visibility_timeout), end)
    return _row('SIGKILL on the main process', rounds, tally, sum(in_flight))


def stopped_workers(
    counted: Counted, rounds: int, tasks: int, visibility_timeout: int = VISIBILITY_TIMEOUT
) -> Row:
    """Send SIGTERM to a worker in each round, and start anew.

    Arguments:
        tasks: those of each round.
        visibility_timeout: in seconds.
    """

    def end(server: Server) -> int:
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        return counted.sqs.in_flight(counted.queue)

    tally, in_flight = _ended_workers(counted, rounds, tasks, _variables(visibility_timeout), end)
    return _row('SIGTERM under load', rounds, tally, 0, f'hidden after it: {sum(in_flight)}')


def _ended_workers(
    counted: Counted,
    rounds: int,
    tasks: int,
    variables: dict[str, Any],
    end: Callable[[Server], int],
) -> tuple[Tally, list[int]]:
    """Return what became of all tasks, and for each round what ``end`` found in flight."""
    in_flight = []
    for _ in range(rounds):
        with counted.server(**variables) as server:
            done = counted.ended()
            with counted.sending(tasks, TASK):
                _wait_under_load(counted, done, tasks)
                in_flight.append(end(server))
    with counted.server(**variables):
        counted.wait_all_run(timeout=60 + rounds * tasks / 50)
    return counted.tally(), in_flight


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


def _row(what: str, rounds: int, tally: Tally, bound: int, note: str = '') -> Row:
    return Row(f'{what}, {rounds} rounds', tally, bound, note)
