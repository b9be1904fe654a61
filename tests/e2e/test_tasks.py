"""From a producer over SQS to a prefork child, a row in PostgreSQL and a metric over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from tests.support import app_tasks, ending
from tests.support.metrics_left import counted_in
from tests.support.postgres import PostgresServer
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, Server, Site

COUNT, FINISHED, LOST = 'tasks_count_total', 'tasks_finished_total', 'pool_processes_lost_total'
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
    """A worker whose tasks have four seconds by default."""
    imports = app_tasks.IMPORTS['CELERY_IMPORTS'] + ending.IMPORTS['CELERY_IMPORTS']
    # A rejected message comes back after wait_time_seconds, see kombu's SQS transport.
    options = {'wait_time_seconds': 1}
    with shared.server(
        CELERY_IMPORTS=imports, CELERY_TASK_TIME_LIMIT=4, CELERY_BROKER_TRANSPORT_OPTIONS=options
    ) as server:
        yield server


@pytest.fixture(scope='module')
def producer(shared: Site) -> Celery:
    return shared.producer()


def wait_counted(server: Server, name: str, value: float, /, **labels: str) -> None:
    wait_until(lambda: server.metric(name, **labels) == value, f'{name} {labels} is {value}')


def row(postgres: PostgresServer, task_id: str) -> dict:
    with postgres.connect() as connection:
        cursor = connection.execute(
            'SELECT status, name, args, kwargs, worker, retries, queue, traceback, date_done '
            'FROM celery_taskmeta WHERE task_id = %s',
            [task_id],
        )
        values = cursor.fetchone()
        assert values is not None, f'no row for {task_id}'
        return dict(zip([column.name for column in cursor.description], values, strict=True))


def test_a_task_becomes_a_row_and_counts(
    shared: Site, server: Server, producer: Celery, postgres: PostgresServer
) -> None:
    add = {'name': 'add', 'queue': shared.queue('add')}
    results = [producer.send_task('add', (n, 1)) for n in range(20)]
    mistake = producer.send_task('add', (1, 'one'))
    assert [result.get(timeout=30) for result in results] == [n + 1 for n in range(20)]
    with pytest.raises(TypeError, match='unsupported operand'):
        mistake.get(timeout=30)

    stored = row(postgres, results[3].id)
    assert (stored['status'], stored['name'], stored['queue']) == ('SUCCESS', *add.values())
    assert (stored['retries'], bytes(stored['args'])) == (0, b'[3, 1]')
    assert stored['worker'].startswith('celery@')
    age = datetime.now(timezone.utc) - stored['date_done'].replace(tzinfo=timezone.utc)
    assert timedelta(0) <= age < timedelta(hours=1)
    stored = row(postgres, mistake.id)
    assert (stored['status'], stored['retries']) == ('FAILURE', 0)
    assert 'TypeError' in stored['traceback']

    wait_counted(server, f'worker_{COUNT}', 20, state='SUCCESS', **add)
    wait_counted(server, f'worker_{COUNT}', 1, state='FAILURE', **add)
    assert server.metric(f'worker_{COUNT}', state='STARTED', **add) == 21
    assert server.metric(f'consumer_{COUNT}', state='RECEIVED', **add) == 21
    assert server.metric('tasks_runtime_seconds_count', **add) == 21
    assert server.metric('tasks_latency_seconds_count', **add) == 21
    received, failed = (line for line in server.log.splitlines() if mistake.id in line)
    assert f'Task add[{mistake.id}] received' in received
    assert f'Task add[{mistake.id}] raised unexpected: TypeError' in failed


@pytest.mark.parametrize(
    'program',
    [
        'from app.tasks.tasks import add; add.delay(1, 2)',
        'import threading; from app.tasks.tasks import add\n'
        'sender = threading.Thread(target=add.delay, args=(1, 2)); sender.start(); sender.join()',
        # A module that imports nothing of the tasks.
        'import app.utils.processes; from celery import shared_task\n'
        'def add(x, y): ...\n'
        'shared_task(name="add")(add).delay(1, 2)',
    ],
    ids=['a shell', 'a thread', 'a task of its own'],
)
def test_a_task_is_sent_to_this_worker_however_it_is_imported(
    site: Site, sqs: SqsServer, tmp_path: Path, program: str
) -> None:
    sent = subprocess.run(
        [sys.executable, '-c', program],
        cwd=ROOT,
        env=site.environment | {'PROMETHEUS_MULTIPROC_DIR': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (sent.returncode, sent.stderr) == (0, '')
    assert sqs.visible(site.queue('add')) == 1


def test_a_task_is_retried_until_it_succeeds(
    shared: Site, server: Server, producer: Celery, postgres: PostgresServer
) -> None:
    retried = {'name': 'retry_demo', 'queue': shared.queue('retry-demo')}
    result = producer.send_task('retry_demo', (2,))
    assert result.get(timeout=30) == 'succeeded at attempt 3'
    assert row(postgres, result.id)['retries'] == 2
    wait_counted(server, f'worker_{COUNT}', 1, state='SUCCESS', **retried)
    assert server.metric(f'worker_{COUNT}', state='RETRY', **retried) == 2
    assert server.metric(f'consumer_{COUNT}', state='RECEIVED', **retried) == 3
    retries = [line for line in server.log.splitlines() if 'retry: Retry in' in line]
    assert [f'[{result.id}]' in line for line in retries] == [True, True]
    assert f'queue={retried["queue"]} attempt=2 max_attempts=6' in retries[1]


def test_time_limits_count_from_the_start_and_a_call_s_win(
    shared: Site, server: Server, producer: Celery
) -> None:
    calls = [
        ('slow', {}, SoftTimeLimitExceeded),
        ('slow', {'soft_time_limit': 1}, SoftTimeLimitExceeded),
        (app_tasks.PLAIN, {}, SoftTimeLimitExceeded),
        ('slow', {'time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 400}, TimeLimitExceeded),
        (app_tasks.SHORT, {}, TimeLimitExceeded),
    ]
    longer = producer.send_task('slow', (6,), **NO_LIMITS)
    sent = [(producer.send_task(name, (500,), **limits), e) for name, limits, e in calls]
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
    assert server.metric(f'consumer_{COUNT}', state='FAILURE', **slow) == 3
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


def test_a_task_may_start_processes_of_its_own(server: Server, producer: Celery) -> None:
    result = producer.send_task(app_tasks.MULTIPROCESSING, **NO_LIMITS)
    assert result.get(timeout=60) == [1, 2, 3, 4, 5]


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
