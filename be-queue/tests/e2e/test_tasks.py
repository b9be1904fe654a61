"""From a producer over SQS to a prefork child, a row in PostgreSQL and a metric over HTTP."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.history import History
from tests.support import app_tasks
from tests.support.metrics import wait_metric
from tests.support.worker import ROOT, Server, Site


@pytest.fixture(scope='module')
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp('server'), sqs.url, postgres.environment)
    with site.server(**app_tasks.IMPORTS) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The shared server, which has counted what earlier tests ran."""

    def counted(*states: str) -> float:
        return sum(shared_server.metric('worker_tasks_count_total', state=s) for s in states)

    wait_until(
        lambda: counted('STARTED') == counted('SUCCESS', 'FAILURE', 'RETRY', 'IGNORED', 'REJECTED'),
        'every end is counted',
    )
    return shared_server


def row(postgres: PostgresServer, task_id: str) -> dict[str, Any]:
    with postgres.connect() as connection:
        cursor = connection.execute(
            'SELECT status, name, args, kwargs, worker, retries, queue, traceback, date_done '
            'FROM celery_taskmeta WHERE task_id = %s',
            [task_id],
        )
        values = cursor.fetchone()
        assert values is not None, f'no row for {task_id}'
        return dict(zip([column.name for column in cursor.description], values, strict=True))


def test_a_task_becomes_a_row_and_counts(server: Server, postgres: PostgresServer) -> None:
    site, counted, producer = server.site, server.counts_from_now(), server.site.producer()
    results = [producer.send_task('add', (n, 1)) for n in range(20)]
    assert [result.get(timeout=60) for result in results] == [n + 1 for n in range(20)]

    stored = row(postgres, results[3].id)
    queue = site.queue('add')
    expected = {'status': 'SUCCESS', 'name': 'add', 'queue': queue, 'retries': 0}
    assert expected.items() <= stored.items()
    assert stored['worker'].startswith('celery@')
    assert bytes(stored['args']) == b'[3, 1]'
    age = datetime.now(timezone.utc) - stored['date_done'].replace(tzinfo=timezone.utc)
    assert timedelta(0) <= age < timedelta(hours=1)

    label = {'name': 'add', 'queue': queue}
    wait_metric(counted, 'worker_tasks_count_total', 20, state='SUCCESS', **label)
    assert counted('worker_tasks_count_total', state='STARTED', **label) == 20
    assert counted('consumer_tasks_count_total', state='RECEIVED', **label) == 20
    assert counted('tasks_runtime_seconds_count', **label) == 20
    assert counted('tasks_latency_seconds_count', **label) == 20
    assert counted('worker_tasks_count_total', state='FAILURE', **label) == 0


#: Imports nothing of the tasks, and sends one of its own from another thread.
SENDER = """
import app.utils.fluent, threading
from celery import shared_task
def add(x, y): ...
sender = threading.Thread(target=shared_task(name='add')(add).delay, args=(1, 2))
sender.start()
sender.join()
"""


def test_a_task_is_sent_to_this_worker_from_any_module_and_thread(
    site: Site, sqs: SqsServer, tmp_path: Path
) -> None:
    sent = subprocess.run(
        [sys.executable, '-c', SENDER],
        cwd=ROOT,
        env=site.environment | {'PROMETHEUS_MULTIPROC_DIR': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (sent.returncode, sent.stderr) == (0, '')
    assert sqs.visible(site.queue('add')) == 1


def test_a_task_is_retried_until_it_succeeds_and_a_mistake_fails_at_once(
    server: Server, postgres: PostgresServer
) -> None:
    producer = server.site.producer()
    retried = producer.send_task('retry_demo', (2,))
    failed = producer.send_task('add', (1, 'one'))
    assert retried.get(timeout=60) == 'succeeded at attempt 3'
    assert row(postgres, retried.id)['retries'] == 2
    history = History(producer)
    # The monitor may be behind.
    wait_until(lambda: (t := history.find(retried.id)) and t.attempt == 3, 'its last message')
    task = history.find(retried.id)
    history.engine.dispose()
    assert [(each.number, each.exception) for each in task.earlier_attempts] == [
        (1, 'ConnectionError'),
        (2, 'ConnectionError'),
    ]
    assert task.sent_at < task.earlier_attempts[0].ended_at < task.earlier_attempts[1].ended_at
    assert task.earlier_attempts[1].ended_at < task.started_at < task.ended_at
    text = f'[{retried.id}] retry: Retry in'
    wait_until(lambda: server.log.count(text) == 2, 'both retries are logged')
    lines = [line for line in server.log.splitlines() if text in line]
    assert f'queue={server.site.queue("retry_demo")} attempt=2 max_attempts=6' in lines[1]

    with pytest.raises(TypeError, match='unsupported operand'):
        failed.get(timeout=60)
    stored = row(postgres, failed.id)
    assert (stored['status'], stored['retries']) == ('FAILURE', 0)
    assert 'TypeError' in stored['traceback']
    failure = f'Task add[{failed.id}] raised unexpected: TypeError'
    wait_until(lambda: failure in server.log, 'the failure is logged')
    assert server.log.count(failed.id) == 2


def test_a_task_may_start_processes_of_its_own(server: Server) -> None:
    result = server.site.producer().send_task(app_tasks.MULTIPROCESSING)
    assert result.get(timeout=90) == [1, 2, 3, 4, 5, -signal.SIGTERM]
