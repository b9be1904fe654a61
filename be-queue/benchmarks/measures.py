"""The steps of a run, and how each is measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import Any

import psutil

from be_queue.testing.postgres import running_postgres
from be_queue.testing.waiting import wait_until
from benchmarks.backlog import fill, unsettled
from benchmarks.contenders import Contender
from benchmarks.servers import Broker
from benchmarks.site import Site, Worker
from tests.support import worker as template

__all__ = ['MEASURES', 'Step', 'consume', 'publish', 'server', 'steps', 'take', 'wait_run']

#: Threads that send, by measure.
PUBLISH_THREADS = {'publish': 1, 'publish-4': 4, 'publish-16': 16}
#: On the command line, in the order of a round. ``latency`` is measured on the worker that
#: ``consume`` has started.
GROUPS = (
    ('ten-queues',),
    ('consume', 'latency'),
    *((name,) for name in PUBLISH_THREADS),
    ('batch',),
    ('server',),
)
MEASURES = tuple(measure for group in GROUPS for measure in group)
#: Single tasks to an idle worker in a round.
SENDS = 50
#: Seconds of sending.
PUBLISH = 2.0
#: Seconds until a worker that makes no progress counts as stuck.
STUCK = 30.0
#: Seconds between two looks at what a worker has done.
LOOK = 0.01


@dataclass(frozen=True)
class Step:
    """One thing to measure.

    Arguments:
        rtt: round-trip delay in milliseconds.
        round: its number, from 1.
        measures: one of `MEASURES`, or two that are taken together.
    """

    rtt: float
    round: int
    contender: Contender
    measures: tuple[str, ...]

    @property
    def measure(self) -> str:
        """The first measure."""
        return self.measures[0]

    def __str__(self) -> str:
        return f'RTT {self.rtt:g} ms, round {self.round}: {self.contender.label}, {self.measure}'


def steps(
    rtts: Iterable[float], rounds: int, contenders: Iterable[Contender], only: Sequence[str]
) -> list[Step]:
    """Return all steps in order: contenders take turns, round by round."""
    return [
        Step(rtt, round_, contender, measures)
        for round_ in range(1, rounds + 1)
        for rtt in rtts
        for group in GROUPS
        for contender in contenders
        if (measures := tuple(m for m in group if m in only and _has(contender, m, rtt)))
    ]


def _has(contender: Contender, measure: str, rtt: float) -> bool:
    if contender.results or contender.broker == 'memory':
        return measure == 'consume' and not rtt
    if measure in ('ten-queues', 'batch'):
        return contender.is_ours
    if measure == 'server':
        return contender.is_ours and not rtt
    # A producer has nothing that is tuned.
    return measure not in PUBLISH_THREADS or contender.name != 'tuned'


def take(step: Step, site: Site, broker: Broker, part: float) -> list[dict[str, Any]]:
    """Take a step; return its samples.

    Arguments:
        part: of all tasks and times, above 0 to 1.
    """
    if step.measure == 'server':
        return [{'measure': 'server'} | server(site.folder, broker.url)]
    if step.measure in (*PUBLISH_THREADS, 'batch'):
        return [publish(site, broker, step.measure, PUBLISH * part)]
    count = 2 if step.measure == 'latency' else step.contender.backlog[step.rtt > 0] * part
    sends = max(1, int(SENDS * part)) if 'latency' in step.measures else 0
    sample, seconds = consume(site, broker, max(2, int(count)), sends)
    samples = [] if step.measure == 'latency' else [{'measure': step.measure} | sample]
    return samples + ([{'measure': 'latency', 'seconds': seconds}] if seconds else [])


def consume(
    site: Site, broker: Broker, count: int, sends: int = 0
) -> tuple[dict[str, Any], list[float]]:
    """Measure a worker on a backlog, then on single tasks.

    Arguments:
        count: tasks that wait when the worker starts, two or more.
        sends: tasks that are sent to it one by one afterwards, when it is idle.

    Returns the figures of the backlog (the rate in tasks per second from the first that ran to the
    last, CPU in milliseconds per task or None when all were over at the first look, requests to SQS
    by operation, the worker's memory at the end, the seconds from its command to the first task),
    and the seconds from each send to the start of its task.
    """
    site.produce('seed')
    fill(broker, site.queues[0], count)
    before = broker.requests()
    started_at = time.monotonic()
    with site.worker() as worker:
        wait_run(site, worker, 1)
        started, cpu_before = site.records.count(), worker.cpu_seconds()
        wait_run(site, worker, count)
        ended, cpu_after = site.records.count(), worker.cpu_seconds()
        wait_until(lambda: not unsettled(broker, site.queues[0]), 'all are deleted', STUCK)
        worker.check_alive()
        requests = dict(broker.requests() - before)
        memory = worker.memory()
        seconds = site.produce('latency', str(sends)) if sends else []
        worker.check_alive()
    times = sorted(site.records.first_runs().values())[:count]
    return {
        'tasks': count,
        'repeated': ended - count,
        'rate': (count - 1) / (times[-1] - times[0]),
        'cpu': (cpu_after - cpu_before) / (ended - started) * 1000 if ended > started else None,
        'requests': requests,
        'memory': memory,
        'start': times[0] - started_at,
    }, seconds


def server(folder: Path, sqs_url: str) -> dict[str, float]:
    """Measure ``app/server.py`` with two children, its web server, and results in PostgreSQL.

    Returns ``start``, the seconds from the command to the end of a task that waits, and ``pss``,
    the megabytes of its processes but for the monitor, which elsewhere is a service of its own.
    """
    with running_postgres() as postgres:
        site = template.Site(folder, sqs_url, postgres.environment)
        result = site.producer().send_task('add', (1, 2))
        started_at = time.time()
        with site.server(wait=False) as running:
            result.get(timeout=STUCK)
            ended_at: float = result.date_done.replace(tzinfo=timezone.utc).timestamp()
            wait_until(lambda: running.get('/metrics')[0] == 200, 'it has pages', STUCK)
            below = running.processes()
            pids = [running.process.pid, *(p for p in below if 'app.monitor' not in below[p])]
            pss = sum(psutil.Process(pid).memory_full_info().pss for pid in pids)
    return {'start': ended_at - started_at, 'pss': pss / 1e6}


def publish(site: Site, broker: Broker, how: str, seconds: float) -> dict[str, Any]:
    """Return tasks per second of one producer, and its requests to SQS by operation.

    Arguments:
        how: one of `PUBLISH_THREADS` for delay(), ``batch`` for be_queue.send_batch().
    """
    before = broker.requests()
    if how == 'batch':
        answer = site.produce('batch', str(seconds))
    else:
        answer = site.produce('publish', str(seconds), str(PUBLISH_THREADS[how]))
    return {
        'measure': how,
        'tasks': answer['sent'],
        'rate': answer['timed'] / answer['seconds'],
        'requests': dict(broker.requests() - before),
    }


def wait_run(site: Site, worker: Worker, count: int) -> None:
    """Wait until so many tasks have run; raise `BenchmarkError` when none does for a while."""
    seen, progress_at = 0, time.monotonic()
    while (runs := site.records.count()) < count or len(site.records.first_runs()) < count:
        worker.check_alive()
        if runs > seen:
            seen, progress_at = runs, time.monotonic()
        if time.monotonic() > progress_at + STUCK:
            raise worker.error(f'{runs} of {count} tasks ran, then none for {STUCK} s')
        time.sleep(LOOK)
