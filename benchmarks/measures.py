"""What is measured, one function each: each returns plain numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from benchmarks.backlog import fill, unsettled
from benchmarks.contenders import BenchmarkError
from benchmarks.processes import Site, Worker
from benchmarks.records import Records
from benchmarks.servers import Broker

__all__ = ['Consumed', 'consume', 'overhead', 'publish', 'wait_run', 'wait_settled']

#: Seconds until a worker that makes no progress counts as stuck.
STUCK = 30.0
#: Seconds between two looks at what a worker has done.
LOOK = 0.01


@dataclass(frozen=True)
class Consumed:
    """A worker's way through a backlog.

    Arguments:
        tasks: that ran, each counted once.
        repeated: runs beyond a task's first.
        rate: tasks per second, from the first that ran to the last.
        stall: the longest time between two tasks, in seconds.
        cpu: milliseconds per task of all the worker's processes, start-up excluded;
            None when all were over at the first look.
        memory: peak of the main process in MiB.
        requests: to SQS by operation, from start-up until the queue was empty.
    """

    tasks: int
    repeated: int
    rate: float
    stall: float
    cpu: float | None
    memory: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)


def consume(site: Site, broker: Broker, count: int, sends: int = 0) -> tuple[Consumed, list[float]]:
    """Measure a worker on a backlog, then on single tasks.

    Arguments:
        count: tasks that wait when the worker starts.
        sends: tasks that are sent to it one by one afterwards, when it is idle.

    Returns with the first the seconds from each send to the start of its task.
    """
    site.produce('seed')
    fill(broker, site.queues[0], count)
    before = broker.requests()
    with site.worker() as worker:
        consumed = _consumed(site, worker, count)
        wait_settled(site, broker, worker)
        requests = dict(broker.requests() - before)
        seconds = site.produce('latency', str(sends)) if sends else []
        worker.check_alive()
        return replace(consumed, requests=requests, memory=worker.peak_memory()), seconds


def overhead(site: Site, broker: Broker, pairs: int, count: int) -> list[dict[str, float | None]]:
    """Return tasks per second and CPU per task, with signals and metrics and without, by pair.

    Arguments:
        pairs: which half of a pair comes first changes from one to the next.
        count: tasks of each half.
    """
    found = []
    for number in range(pairs):
        pair: dict[str, float | None] = {}
        for how in ('on', 'off') if number % 2 else ('off', 'on'):
            half = site.beside(f'{how}-{number}', metrics=how == 'on')
            consumed, _ = consume(half, broker, count)
            pair |= {how: consumed.rate, f'{how}_cpu': consumed.cpu}
        found.append(pair)
    return found


def publish(site: Site, broker: Broker, how: str, seconds: float) -> dict[str, Any]:
    """Return tasks per second of one producer, and its requests to SQS by operation.

    Arguments:
        how: ``publish`` for delay(), ``batch`` for be_queue.send_batch().
    """
    before = broker.requests()
    answer = site.produce(how, str(seconds))
    return {
        'tasks': answer['sent'],
        'rate': answer['timed'] / answer['seconds'],
        'requests': dict(broker.requests() - before),
    }


def _consumed(site: Site, worker: Worker, count: int) -> Consumed:
    """Return what it took to run ``count`` tasks, but for requests and memory."""
    records = site.records
    wait_run(worker, records, 1)
    started, cpu_before = records.count(), worker.cpu_seconds()
    wait_run(worker, records, count)
    ended, cpu_after = records.count(), worker.cpu_seconds()
    ran = records.first_runs()
    times = sorted(ran.values())
    span = times[-1] - times[0]
    if not span:
        raise BenchmarkError(f'count={count}: a rate takes two tasks or more')
    return Consumed(
        tasks=len(ran),
        repeated=ended - len(ran),
        rate=(len(ran) - 1) / span,
        stall=max(later - earlier for earlier, later in pairwise(times)),
        cpu=(cpu_after - cpu_before) / (ended - started) * 1000 if ended > started else None,
    )


def wait_run(worker: Worker, records: Records, count: int) -> None:
    """Wait until so many tasks have run; raise `BenchmarkError` when none does for a while."""
    seen, progress_at = 0, time.monotonic()
    while True:
        runs = records.count()
        if runs >= count and len(records.first_runs()) >= count:
            return
        if runs > seen:
            seen, progress_at = runs, time.monotonic()
        worker.check_alive()
        if time.monotonic() > progress_at + STUCK:
            what = f'{runs} of {count} tasks ran, then none for {STUCK} s'
            raise BenchmarkError(f'{worker.log_tail()}\n{what}')
        time.sleep(LOOK)


def wait_settled(site: Site, broker: Broker, worker: Worker) -> None:
    """Wait until the worker has deleted every message."""
    deadline = time.monotonic() + STUCK
    while left := unsettled(broker, site.queues[0]):
        worker.check_alive()
        if time.monotonic() > deadline:
            what = f'{left} messages are not deleted {STUCK} s after their tasks'
            raise BenchmarkError(f'{worker.log_tail()}\n{what}')
        time.sleep(LOOK)
