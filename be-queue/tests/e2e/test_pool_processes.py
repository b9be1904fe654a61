"""Time limits, and processes of the pool that end: each is counted with its reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.result import AsyncResult

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker import soft_time_limit
from tests.support import app_tasks, ending
from tests.support.metrics import wait_metric
from tests.support.worker import Site, Worker

FINISHED, LOST = 'tasks_finished_total', 'pool_processes_lost_total'
#: Limits of a call, longer than any test.
NO_LIMITS = {'time_limit': 600, 'soft_time_limit': 500}


@pytest.fixture(scope='module')
def worker(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Worker]:
    """A worker whose tasks have one second by default.

    The hard limit is far off: a busy machine must not reach it while a soft one is handled.
    """
    site = Site(tmp_path_factory.mktemp('pool'), sqs.url, postgres.environment)
    with site.worker(
        CELERY_IMPORTS=app_tasks.IMPORTS['CELERY_IMPORTS'] + ending.IMPORTS['CELERY_IMPORTS'],
        # A rejected message comes back after wait_time_seconds, see kombu's SQS transport.
        CELERY_BROKER_TRANSPORT_OPTIONS={'wait_time_seconds': 1},
        CELERY_TASK_SOFT_TIME_LIMIT=1,
        CELERY_TASK_TIME_LIMIT=60,
        CELERY_WORKER_CONCURRENCY=8,
    ) as worker:
        yield worker


@pytest.fixture(scope='module')
def producer(worker: Worker) -> Celery:
    return worker.site.producer()


class Beside:
    """A task that runs until it is told to end."""

    def __init__(self, producer: Celery, folder: Path) -> None:
        self._marks, self._end = folder / 'marks', folder / 'end'
        task = (ending.BESIDE, (str(self._marks), str(self._end)))
        self.result: AsyncResult = producer.send_task(*task, **NO_LIMITS)
        self.wait_runs(1)

    def wait_runs(self, count: int) -> None:
        runs = 'ran\n' * count
        wait_until(lambda: self._marks.exists() and self._marks.read_text() == runs, runs)

    def end(self) -> None:
        self._end.touch()


def test_a_process_shares_what_the_main_process_has_loaded(
    worker: Worker, producer: Celery
) -> None:
    # A collection of garbage writes to every object that it looks at.
    assert producer.send_task(app_tasks.OWN_MEMORY, **NO_LIMITS).get(timeout=60) < 0.4


def test_time_limits_count_from_the_start_and_a_call_s_win(
    worker: Worker, producer: Celery
) -> None:
    calls = [
        ('slow', {}, SoftTimeLimitExceeded),
        ('slow', {'soft_time_limit': 2}, SoftTimeLimitExceeded),
        (ending.ENDS, {'args': ('sleep',)}, SoftTimeLimitExceeded),
        ('slow', {'time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 400}, TimeLimitExceeded),
        (app_tasks.SHORT, {}, TimeLimitExceeded),
    ]
    longer = producer.send_task('slow', (2,), **NO_LIMITS)
    # Ours interrupts a task, and nothing around it.
    handler = producer.send_task(ending.ENDS, ('handler',), **NO_LIMITS)
    assert handler.get(timeout=60) == soft_time_limit.__name__
    sent = [
        (producer.send_task(name, **{'args': (500,), **options}), error)
        for name, options, error in calls
    ]
    for result, error in sent:
        with pytest.raises(error):
            result.get(timeout=60)
    assert longer.get(timeout=60) == 2
    # A soft limit costs no process.
    wait_metric(worker.metric, LOST, 4, reason='time limit')
    slow = {'name': 'slow', 'queue': worker.site.queue('slow')}
    wait_metric(worker.metric, FINISHED, 5, state='FAILURE', **slow)
    wait_metric(worker.metric, FINISHED, 1, state='SUCCESS', **slow)
    wait_metric(worker.metric, 'consumer_tasks_count_total', 3, state='FAILURE', **slow)
    wait_metric(worker.metric, 'tasks_failed_total', 2, exception='SoftTimeLimitExceeded', **slow)
    wait_metric(worker.metric, 'tasks_failed_total', 3, exception='TimeLimitExceeded', **slow)
    assert worker.metric(LOST) == 4


def test_a_task_whose_process_ends_runs_again(
    worker: Worker, producer: Celery, tmp_path: Path
) -> None:
    exits = producer.send_task(ending.EXITS_ONCE, (str(tmp_path / 'marker'),), **NO_LIMITS)
    killed = Beside(producer, tmp_path)
    wait_until(lambda: killed.result.state == 'STARTED', 'the log and the result know its process')
    pid = killed.result.info['pid']
    os.kill(pid, signal.SIGKILL)
    killed.wait_runs(2)
    killed.end()
    assert killed.result.get(timeout=60) != pid
    assert exits.get(timeout=60) == 'done'
    for reason in ('exit', 'signal'):
        wait_metric(worker.metric, LOST, 1, reason=reason)
    lost = f'task {ending.BESIDE}[{killed.result.id}] is gone'
    (line,) = (line for line in worker.log.splitlines() if lost in line)
    assert 'out-of-memory' in line
    assert 'the task runs again' in line


def test_processes_that_are_recycled_say_why_and_those_that_end_with_the_worker_do_not(
    site: Site, tmp_path: Path
) -> None:
    variables = {
        'CELERY_WORKER_CONCURRENCY': 1,
        'CELERY_WORKER_MAX_TASKS_PER_CHILD': 2,
        'CELERY_WORKER_MAX_MEMORY_PER_CHILD': 300_000,  # KiB
    }
    with site.worker(**variables, **ending.IMPORTS) as worker:
        producer = site.producer()
        assert worker.metric(LOST) == 0
        results = [producer.send_task('add', (n, n)) for n in range(2)]
        assert [result.get(timeout=60) for result in results] == [0, 2]
        wait_metric(worker.metric, LOST, 1, reason='recycled')
        assert producer.send_task(ending.ALLOCATES, (300,)).get(timeout=60) == 300
        wait_metric(worker.metric, LOST, 1, reason='memory')
        last = Beside(producer, tmp_path)
        worker.signal(signal.SIGTERM)
        last.end()
        assert worker.wait_ended() == 0
        assert worker.metric('pool_processes_started_total') == 3
        assert worker.metric(LOST) == 2
        # Nothing that a process has counted is lost with it, and its file goes on.
        assert worker.metric(FINISHED, state='SUCCESS') == 4
        assert worker.metric('tasks_runtime_seconds_count') == 4
        assert len(list((worker.folder / 'metrics').glob('counter_*-*.db'))) == 1
