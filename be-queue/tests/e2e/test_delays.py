"""Tasks for later: they wait on SQS, start on time and run once, whatever happens to workers."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
from celery import Celery

from be_queue.testing.processes import kill
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.counted import Counted
from tests.support.counting import TASK, Runs
from tests.support.delayed import RETRIED, RETRY_COUNTDOWN
from tests.support.worker import Server, Site

IMPORTS: dict[str, Any] = {'CELERY_IMPORTS': ('tests.support.counting', 'tests.support.delayed')}
#: A message that is held stays hidden on a machine that stands still for seconds.
OPTIONS = {'wait_time_seconds': 1, 'visibility_timeout': 15}
WORKER: dict[str, Any] = IMPORTS | {'CELERY_BROKER_TRANSPORT_OPTIONS': OPTIONS}


@pytest.fixture
def counted(site: Site, sqs: SqsServer) -> Counted:
    return Counted(site, sqs)


def delayed(sqs: SqsServer, queue: str) -> int:
    return sqs._count(queue, 'ApproximateNumberOfMessagesDelayed')


def starts(runs: Runs) -> dict[int, float]:
    """Return when each task was started first, in seconds since 1970."""
    found: dict[int, float] = {}
    for line in runs.path.read_text().splitlines():
        what, number, moment, _ = line.split()
        if what == 'start':
            found.setdefault(int(number), float(moment))
    return found


def wait_run(runs: Runs, number: int) -> None:
    wait_until(lambda: runs.ends[number], f'task {number} has run')


def send_for(app: Celery, eta: float, number: int, **options: Any) -> None:
    at = datetime.datetime.fromtimestamp(eta, datetime.timezone.utc)
    app.send_task(TASK, (number,), eta=at, **options)


def prefetch_count(server: Server) -> int:
    """Return how many messages the worker was ready to hold at its last receipt of a task."""
    return int(server.log.rpartition('prefetch_count=')[2].split()[0])


def test_tasks_for_later_and_retries_wait_on_sqs_and_never_start_early(
    counted: Counted, sqs: SqsServer
) -> None:
    app = counted.app()
    with counted.worker(**WORKER) as server:
        app.send_task(TASK, (100,))
        wait_run(counted.runs, 100)
        before = prefetch_count(server)

        # The parts of a second differ: SQS knows whole ones only.
        first = time.time() + 3
        etas = {number: first + number * 0.13 for number in range(20)}
        for number, eta in etas.items():
            send_for(app, eta, number)
        wait_until(lambda: etas.keys() <= counted.runs.ends.keys(), 'all have run')
        started = starts(counted.runs)
        assert min(started[number] - eta for number, eta in etas.items()) >= 0

        sent_at = time.time()
        app.send_task(RETRIED, (300,), queue=counted.queue)
        wait_until(lambda: delayed(sqs, counted.queue) == 1, 'the retry waits on SQS')
        wait_until(lambda: sqs.in_flight(counted.queue) == 0, 'the worker holds nothing')
        wait_run(counted.runs, 300)
        assert starts(counted.runs)[300] - sent_at >= 2 * RETRY_COUNTDOWN
        wait_until(lambda: sqs.in_flight(counted.queue) == 0, 'its message is deleted')
        assert counted.runs.duplicates == 0

        # The room that the worker had made for them is given back.
        app.send_task(TASK, (200,))
        wait_run(counted.runs, 200)
        assert prefetch_count(server) == before


def test_tasks_of_stock_producers_hop_and_survive_killed_workers(
    counted: Counted, sqs: SqsServer
) -> None:
    stock = counted.app()
    stock.conf.broker_transport = 'sqs'
    numbers = range(10)
    with counted.worker(LONGEST_DELAY=5, **WORKER) as first:
        eta = time.time() + 12
        for number in numbers:
            send_for(stock, eta, number)
        # A worker that is killed between sending and deleting leaves both copies.
        wait_until(
            lambda: (delayed(sqs, counted.queue), sqs.in_flight(counted.queue)) == (10, 0),
            'they wait on SQS, and their first copies are deleted',
        )
        for pid in (first.process.pid, *first.processes()):
            kill(pid)
        first.wait_ended()
    with counted.worker(LONGEST_DELAY=5, **WORKER):
        wait_until(lambda: counted.runs.ends.keys() == set(numbers), 'all have run')
        wait_until(
            lambda: sqs.in_flight(counted.queue) == sqs.visible(counted.queue) == 0,
            'all is deleted',
        )
    assert counted.runs.starts == dict.fromkeys(numbers, 1)
    assert min(starts(counted.runs).values()) >= eta
    assert delayed(sqs, counted.queue) == 0
