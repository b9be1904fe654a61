"""Time limits, and processes of the pool that end: each is counted with its reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from tests.support import app_tasks, ending
from tests.support.metrics_left import counted_in
from tests.support.postgres import PostgresServer
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

FINISHED, LOST = 'tasks_finished_total', 'pool_processes_lost_total'
#: Of a call: longer than any test.
NO_LIMITS = {'time_limit': 600, 'soft_time_limit': 500}


@pytest.fixture(scope='module')
def shared(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Site:
    """The surroundings of one worker for the whole module."""
    return Site(tmp_path_factory.mktemp('tasks'), sqs.url, postgres.environment)


@pytest.fixture(scope='module')
def server(shared: Site) -> Iterator[Server]:
    """A worker whose tasks have three seconds by default.

    The hard limit is far off: a busy machine must not reach it while a soft one is handled.
    """
    imports = app_tasks.IMPORTS['CELERY_IMPORTS'] + ending.IMPORTS['CELERY_IMPORTS']
    # A rejected message comes back after wait_time_seconds, see kombu's SQS transport.
    options = {'wait_time_seconds': 1}
    limits = {'CELERY_TASK_SOFT_TIME_LIMIT': 3, 'CELERY_TASK_TIME_LIMIT': 60}
    with shared.server(
        CELERY_IMPORTS=imports, CELERY_BROKER_TRANSPORT_OPTIONS=options, **limits
    ) as server:
        yield server


@pytest.fixture(scope='module')
def producer(shared: Site) -> Celery:
    return shared.producer()


def wait_counted(server: Server, name: str, value: float, /, **labels: str) -> None:
    wait_until(lambda: server.metric(name, **labels) == value, f'{name} {labels} is {value}')


def test_time_limits_count_from_the_start_and_a_call_s_win(
    shared: Site, server: Server, producer: Celery
) -> None:
    calls = [
        ('slow', {}, SoftTimeLimitExceeded),
        ('slow', {'soft_time_limit': 1}, SoftTimeLimitExceeded),
        (ending.ENDS, {'args': ('sleep',)}, SoftTimeLimitExceeded),
        ('slow', {'time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 400}, TimeLimitExceeded),
        (app_tasks.SHORT, {}, TimeLimitExceeded),
    ]
    longer = producer.send_task('slow', (6,), **NO_LIMITS)
    sent = [
        (producer.send_task(name, **{'args': (500,), **options}), error)
        for name, options, error in calls
    ]
    for result, error in sent:
        with pytest.raises(error):
            result.get(timeout=60)
    assert longer.get(timeout=60) == 6
    # A soft limit costs no process.
    wait_counted(server, LOST, 4)
    assert server.metric(LOST, reason='time limit') == 4
    slow = {'name': 'slow', 'queue': shared.queue('slow')}
    wait_counted(server, FINISHED, 5, state='FAILURE', **slow)
    assert server.metric(FINISHED, state='SUCCESS', **slow) == 1
    assert server.metric('consumer_tasks_count_total', state='FAILURE', **slow) == 3
    assert server.metric('tasks_failed_total', **slow) == 5
    assert server.metric('tasks_failed_total', exception='TimeLimitExceeded', **slow) == 3


def test_a_task_whose_process_ends_runs_again(
    server: Server, producer: Celery, tmp_path: Path
) -> None:
    exits = producer.send_task(ending.EXITS_ONCE, (str(tmp_path / 'marker'),))
    killed = producer.send_task('slow', (3,), **NO_LIMITS)
    wait_until(lambda: killed.state == 'STARTED', 'the task runs')
    os.kill(killed.info['pid'], signal.SIGKILL)
    assert killed.get(timeout=60) == 3
    assert exits.get(timeout=60) == 'done'
    for reason in ('exit', 'signal'):
        wait_counted(server, LOST, 1, reason=reason)
    (line,) = (
        line for line in server.log.splitlines() if f'task slow[{killed.id}] is gone' in line
    )
    assert 'out-of-memory' in line
    assert 'the task runs again' in line


def test_processes_that_are_recycled_say_why_and_those_that_end_with_the_worker_do_not(
    site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / 'metrics'
    variables = {
        'CELERY_WORKER_CONCURRENCY': 1,
        'CELERY_WORKER_MAX_TASKS_PER_CHILD': 2,
        'CELERY_WORKER_MAX_MEMORY_PER_CHILD': 300_000,  # KiB
        'PROMETHEUS_MULTIPROC_DIR': folder,
    }
    with site.server(**variables, **ending.IMPORTS) as server:
        producer = site.producer()
        assert server.metric(LOST) == 0
        results = [producer.send_task('add', (n, n)) for n in range(2)]
        assert [result.get(timeout=60) for result in results] == [0, 2]
        wait_counted(server, LOST, 1, reason='recycled')
        assert producer.send_task(ending.ALLOCATES, (300,)).get(timeout=60) == 300
        wait_counted(server, LOST, 1, reason='memory')
        last = producer.send_task('slow', (1,))
        wait_until(lambda: last.state == 'STARTED', 'the last task runs')
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
    counted = counted_in(folder)
    assert counted('pool_processes_started_total') == 3
    assert counted(LOST) == 2
    assert counted(FINISHED, state='SUCCESS') == 4
