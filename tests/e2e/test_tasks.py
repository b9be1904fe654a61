"""From a producer over SQS to a prefork child, a row in PostgreSQL and a metric over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from tests.support import app_tasks
from tests.support.postgres import PostgresServer
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, Site


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


def test_a_task_becomes_a_row_and_counts(site: Site, postgres: PostgresServer) -> None:
    queue = site.queue('add')
    with site.server() as server:
        results = [site.producer().send_task('add', (n, 1)) for n in range(20)]
        assert [result.get(timeout=30) for result in results] == [n + 1 for n in range(20)]

        stored = row(postgres, results[3].id)
        assert stored['status'] == 'SUCCESS'
        assert stored['name'] == 'add'
        assert stored['queue'] == queue
        assert stored['retries'] == 0
        assert stored['worker'].startswith('celery@')
        assert bytes(stored['args']) == b'[3, 1]'
        age = datetime.now(timezone.utc) - stored['date_done'].replace(tzinfo=timezone.utc)
        assert timedelta(0) <= age < timedelta(hours=1)

        label = {'name': 'add', 'queue': queue}
        count = 'tasks_count_total'
        wait_until(
            lambda: server.metric(f'worker_{count}', state='SUCCESS', **label) == 20,
            'every success is counted',
        )
        assert server.metric(f'worker_{count}', state='STARTED', **label) == 20
        assert server.metric(f'consumer_{count}', state='RECEIVED', **label) == 20
        assert server.metric('tasks_runtime_seconds_count', **label) == 20
        assert server.metric('tasks_latency_seconds_count', **label) == 20
        assert server.metric(f'worker_{count}', state='FAILURE') == 0


@pytest.mark.parametrize(
    'program',
    [
        'from app.tasks.tasks import add; add.delay(1, 2)',
        'from tests.support.app_tasks import add; add.delay(1, 2)',
        'import threading; from app.tasks.tasks import add\n'
        'sender = threading.Thread(target=add.delay, args=(1, 2)); sender.start(); sender.join()',
        # A module that imports nothing of the tasks.
        'import app.utils.processes; from celery import shared_task\n'
        'def add(x, y): ...\n'
        'shared_task(name="add")(add).delay(1, 2)',
    ],
    ids=['a shell', 'another module', 'a thread', 'a task of its own'],
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


def test_a_task_is_retried_until_it_succeeds(site: Site, postgres: PostgresServer) -> None:
    with site.server() as server:
        result = site.producer().send_task('retry_demo', (2,))
        assert result.get(timeout=30) == 'succeeded at attempt 3'
        assert row(postgres, result.id)['retries'] == 2

        label = {'name': 'retry_demo', 'queue': site.queue('retry-demo')}
        wait_until(
            lambda: server.metric('worker_tasks_count_total', state='SUCCESS', **label) == 1,
            'the success is counted',
        )
        assert server.metric('worker_tasks_count_total', state='RETRY', **label) == 2
        assert server.metric('consumer_tasks_count_total', state='RECEIVED', **label) == 3
        retries = [line for line in server.log.splitlines() if 'retry: Retry in' in line]
        assert [f'[{result.id}]' in line for line in retries] == [True, True]
        assert f'queue={site.queue("retry-demo")} attempt=2 max_attempts=6' in retries[1]


def test_a_mistake_fails_at_once_with_its_traceback(site: Site, postgres: PostgresServer) -> None:
    with site.server() as server:
        result = site.producer().send_task('add', (1, 'one'))
        with pytest.raises(TypeError, match='unsupported operand'):
            result.get(timeout=30)
        stored = row(postgres, result.id)
        assert stored['status'] == 'FAILURE'
        assert stored['retries'] == 0
        assert 'TypeError' in stored['traceback']
        wait_until(
            lambda: server.metric('worker_tasks_count_total', state='FAILURE', name='add') == 1,
            'the failure is counted',
        )
        failures = [line for line in server.log.splitlines() if str(result.id) in line][1:]
        assert len(failures) == 1
        assert f'Task add[{result.id}] raised unexpected: TypeError' in failures[0]


def test_a_task_of_a_killed_child_runs_again(site: Site) -> None:
    # A rejected message comes back after wait_time_seconds, see kombu's SQS transport.
    options = {'wait_time_seconds': 1}
    with site.server(
        CELERY_WORKER_CONCURRENCY=1, CELERY_BROKER_TRANSPORT_OPTIONS=options
    ) as server:
        result = site.producer().send_task('slow', (2,))
        wait_until(lambda: result.state == 'STARTED', 'the task runs')
        (child,) = server.pool_pids()
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: server.pool_pids() not in ([], [child]), 'another child takes over')
        assert result.get(timeout=60) == 2
        (line,) = (line for line in server.log.splitlines() if 'out-of-memory' in line)
        assert f'the process of task slow[{result.id}] is gone' in line
        assert 'the task runs again' in line


def test_a_task_over_its_soft_time_limit_fails_where_it_stands(site: Site) -> None:
    with site.server(CELERY_TASK_TIME_LIMIT=2) as server:
        child = server.pool_pids()
        result = site.producer().send_task('slow', (60,))
        with pytest.raises(SoftTimeLimitExceeded):
            result.get(timeout=30)
        wait_until(
            lambda: server.metric('worker_tasks_count_total', state='FAILURE', name='slow') == 1,
            'the failure is counted',
        )
        assert server.pool_pids() == child


def test_a_task_over_its_hard_time_limit_costs_the_child(site: Site) -> None:
    with site.server(CELERY_TASK_TIME_LIMIT=2, CELERY_TASK_SOFT_TIME_LIMIT=0) as server:
        result = site.producer().send_task('slow', (60,))
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=30)
        label = {'name': 'slow', 'queue': site.queue('slow')}
        wait_until(
            lambda: server.metric('consumer_tasks_count_total', state='FAILURE', **label) == 1,
            'the failure is counted',
        )


def test_a_time_limit_counts_from_the_start_of_the_task(site: Site) -> None:
    calls = [
        ('slow', {'time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 1}, TimeLimitExceeded),
        ('slow', {'time_limit': 1, 'soft_time_limit': 400}, TimeLimitExceeded),
        ('slow', {'soft_time_limit': 1}, SoftTimeLimitExceeded),
        (app_tasks.SHORT, {}, TimeLimitExceeded),
    ]
    with site.server(**app_tasks.IMPORTS):
        producer = site.producer()
        sent = [(producer.send_task(name, (500,), **limits), e) for name, limits, e in calls]
        for result, error in sent:
            with pytest.raises(error):
                result.get(timeout=60)


def test_a_task_may_start_processes_of_its_own(site: Site) -> None:
    with site.server(**app_tasks.IMPORTS):
        result = site.producer().send_task(app_tasks.MULTIPROCESSING)
        assert result.get(timeout=60) == [1, 2, 3, 4, 5]


def test_counts_survive_recycled_children(site: Site) -> None:
    with site.server(CELERY_WORKER_MAX_TASKS_PER_CHILD=3) as server:
        first = server.pool_pids()
        results = [site.producer().send_task('add', (n, n)) for n in range(30)]
        assert [result.get(timeout=60) for result in results] == [2 * n for n in range(30)]
        wait_until(
            lambda: server.metric('worker_tasks_count_total', state='SUCCESS') == 30,
            'every success is counted',
        )
        assert set(first).isdisjoint(server.pool_pids())


def test_two_workers_share_a_queue(site: Site, sqs: SqsServer) -> None:
    with site.server() as one, site.server() as other:
        results = [site.producer().send_task('slow', (0.1,)) for _ in range(40)]
        assert [result.get(timeout=60) for result in results] == [0.1] * 40

        def counts() -> list[float]:
            return [
                server.metric('worker_tasks_count_total', state='SUCCESS', name='slow')
                for server in (one, other)
            ]

        wait_until(lambda: sum(counts()) == 40, 'every task is counted once')
        assert min(counts()) > 0
    assert sqs.visible(site.queue('slow')) == sqs.in_flight(site.queue('slow')) == 0
