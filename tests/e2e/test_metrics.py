"""The metrics of one worker through its life: its tasks, its pool, its transport, its results."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ending
from tests.support.metrics_left import counted_in
from tests.support.postgres import PostgresServer
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

WAIT, LATENCY = 'tasks_wait_seconds', 'tasks_latency_seconds'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('metrics')


@pytest.fixture(scope='module')
def site(folder: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    return Site(folder, sqs.url, postgres.environment)


@pytest.fixture(scope='module')
def server(site: Site, folder: Path) -> Iterator[Server]:
    """A worker that found a task which was sent more than three seconds before."""
    site.producer().send_task('add', (1, 1))
    sent_at = time.time()
    wait_until(lambda: time.time() > sent_at + 3, 'it has waited for a worker')
    with site.server(
        **ending.IMPORTS,
        PROMETHEUS_MULTIPROC_DIR=folder / 'values',
        CELERY_BROKER_TRANSPORT_OPTIONS={'visibility_timeout': 4},
        CELERY_WORKER_PREFETCH_MULTIPLIER=3,
    ) as server:
        yield server


def wait_for(server: Server, name: str, value: float, /, **labels: str) -> None:
    wait_until(lambda: server.metric(name, **labels) == value, f'{name} {labels} is {value}')


def wait_for_at_least(server: Server, name: str, value: float, /, **labels: str) -> None:
    wait_until(lambda: server.metric(name, **labels) >= value, f'{name} {labels} >= {value}')


def oldest_running(server: Server) -> float:
    for line in server.get('/metrics')[1].splitlines():
        if line.startswith('python_backend_worker_template_tasks_oldest_running_seconds '):
            return float(line.split()[1])
    raise AssertionError('there is no such metric')


def test_the_wait_begins_when_a_task_is_sent_or_due(server: Server, site: Site) -> None:
    wait_for(server, f'{WAIT}_count', 1, name='add')
    assert server.metric(f'{WAIT}_sum', name='add') > 3
    # What this worker held it for is the smaller part.
    assert server.metric(f'{LATENCY}_sum', name='add') < server.metric(f'{WAIT}_sum', name='add')
    began_at = time.time()
    late = site.producer().send_task('slow', (0,), countdown=3)
    assert late.get(timeout=30) == 0
    took = time.time() - began_at
    wait_for(server, f'{WAIT}_count', 1, name='slow')
    assert server.metric(f'{WAIT}_sum', name='slow') <= took - 3


def test_tasks_are_counted_once_by_their_end(server: Server, site: Site, sqs: SqsServer) -> None:
    producer = site.producer()
    added = [producer.send_task('add', (n, n)) for n in range(20)]
    assert [result.get(timeout=30) for result in added] == [2 * n for n in range(20)]
    assert producer.send_task('retry_demo', (2,)).get(timeout=30)
    with pytest.raises(TypeError):
        producer.send_task('add', (1, 'one')).get(timeout=30)
    expired = producer.send_task('add', (1, 1), expires=-1)
    wait_until(lambda: expired.state == 'REVOKED', 'it has expired')
    for name in (ending.IGNORED, ending.REJECTED):
        producer.send_task(name)

    add = {'name': 'add', 'queue': site.queue('add')}
    retry = {'name': 'retry_demo', 'queue': site.queue('retry-demo')}
    finished = 'tasks_finished_total'
    wait_for(server, finished, 1, name=ending.IGNORED, state='IGNORED')
    wait_for(server, finished, 1, name=ending.REJECTED, state='REJECTED')
    # One of each was there before.
    wait_for(server, finished, 21, state='SUCCESS', **add)
    wait_for(server, finished, 1, state='FAILURE', **add)
    wait_for(server, finished, 1, state='REVOKED', **add)
    wait_for(server, finished, 1, state='SUCCESS', **retry)
    wait_for(server, finished, 27)
    assert server.metric('tasks_retried_total', **retry) == 2
    assert server.metric('tasks_retried_total') == 2
    assert server.metric('tasks_failed_total', exception='TypeError', **add) == 1
    assert server.metric('tasks_failed_total') == 1
    assert server.metric(f'{WAIT}_count', **add) == 22
    # Of a retry only what comes after its countdown.
    assert server.metric(f'{WAIT}_count', **retry) == 3
    dead = f'err-{site.username}-local-celery'
    wait_until(lambda: sqs.visible(dead) == 1, 'the rejected message is a dead letter')


def test_requests_to_sqs_and_to_the_database_are_counted(server: Server, site: Site) -> None:
    add, stored = site.queue('add'), 'result_store_seconds_count'
    before = server.metric(stored, operation='store')
    results = [site.producer().send_task('add', (n, n)) for n in range(10)]
    assert [result.get(timeout=30) for result in results] == [2 * n for n in range(10)]
    # With those of the tests before.
    wait_for(server, 'transport_ack_delay_seconds_count', 33, queue=add)
    assert server.metric('transport_receive_batch_size_sum', queue=add) == 33
    assert server.metric('transport_delete_batch_size_sum', queue=add) == 33
    # STARTED and SUCCESS.
    assert server.metric(stored, operation='store') == before + 20
    assert server.metric('result_store_errors_total') == 0
    polls = server.metric('transport_polls_total', queue=add, outcome='messages')
    assert server.metric('transport_receive_batch_size_count', queue=add) == polls > 0
    wait_for_at_least(server, 'transport_polls_total', 1, queue=add, outcome='empty')
    for operation in ('ReceiveMessage', 'DeleteMessageBatch', 'GetQueueAttributes'):
        requests = server.metric('transport_requests_total', operation=operation, status='ok')
        assert requests > 0


def test_running_and_waiting_tasks_are_shown(server: Server, site: Site) -> None:
    queue = site.queue('slow')
    wait_for(server, 'pool_processes', 2, state='idle')
    results = [site.producer().send_task('slow', (3,)) for _ in range(6)]
    wait_for(server, 'pool_processes', 2, state='busy')
    wait_for(server, 'pool_processes', 0, state='idle')
    wait_for(server, 'consumer_prefetched_messages', 4, queue=queue)
    assert server.metric('consumer_prefetched_messages') == 4
    wait_until(lambda: oldest_running(server) > 1, 'it runs for a second')
    age = 'queue_oldest_message_age_estimate_seconds'
    # The last receive may have brought only what was sent after the task that runs.
    wait_until(lambda: server.metric(age, queue=queue) > 1, 'its message is older')
    assert server.metric(age, queue=site.queue('add')) == 0
    extensions = 'transport_visibility_extensions_total'
    wait_for_at_least(server, extensions, 2, queue=queue, outcome='ok')
    for result in results:
        result.get(timeout=60)
    wait_for(server, 'pool_processes', 2, state='idle')
    wait_for(server, 'consumer_prefetched_messages', 0)
    assert oldest_running(server) == 0


def test_messages_that_are_handed_back_at_the_end_are_counted(
    server: Server, site: Site, folder: Path
) -> None:
    queue = site.queue('slow')
    results = [site.producer().send_task('slow', (6,)) for _ in range(5)]
    wait_until(lambda: sum(r.state == 'STARTED' for r in results) == 2, 'two run')
    # On a slow machine they have been handed back already, since no process was free.
    wait_until(
        lambda: any(
            (server.metric(name, queue=queue) or 0) >= 3
            for name in ('consumer_prefetched_messages', 'transport_released_messages_total')
        ),
        'three wait, or have waited',
    )
    server.signal(signal.SIGTERM)
    assert server.wait_ended() == 0
    counted = counted_in(folder / 'values')
    # A receive that is in flight may bring one that was handed back.
    assert counted('transport_released_messages_total', queue=queue) >= 3
    assert counted('transport_released_messages_total', queue=site.queue('add')) == 0
    assert counted('tasks_finished_total', name='slow') == 1 + 6 + 2
