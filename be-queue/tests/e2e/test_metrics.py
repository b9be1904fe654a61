"""The metrics of one worker through its life: its tasks, its pool, its transport, its results."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import ending
from tests.support.metrics import wait_metric
from tests.support.worker import Site, Worker

FINISHED, DELETED = 'tasks_finished_total', 'transport_delete_batch_size_sum'
WAIT, LATENCY = 'tasks_wait_seconds', 'tasks_latency_seconds'


@pytest.fixture(scope='module')
def site(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Site:
    return Site(tmp_path_factory.mktemp('metrics'), sqs.url, postgres.environment)


@pytest.fixture(scope='module')
def worker(site: Site) -> Iterator[Worker]:
    """A worker that found a task which was sent more than a second before."""
    site.producer().send_task('add', (1, 1))
    sent_at = time.time()
    wait_until(lambda: time.time() > sent_at + 1, 'it has waited for a worker')
    with site.worker(
        **ending.IMPORTS,
        # What waits for a process is handed back by no test but the last.
        CELERY_BROKER_TRANSPORT_OPTIONS={'visibility_timeout': 4, 'hand_back_seconds': 600},
        CELERY_WORKER_PREFETCH_MULTIPLIER=3,
    ) as worker:
        wait_metric(worker.metric, DELETED, 1)
        yield worker


def wait_for_at_least(worker: Worker, name: str, value: float, /, **labels: str) -> None:
    wait_until(lambda: worker.metric(name, **labels) >= value, f'{name} {labels} >= {value}')


def running(site: Site, worker: Worker, folder: Path, count: int) -> Path:
    """Send tasks of which two run and the others wait; return the file that ends them."""
    marks, end = folder / 'marks', folder / 'end'
    for _ in range(count):
        site.producer().send_task(ending.BESIDE, (str(marks), str(end)))
    wait_metric(worker.metric, 'pool_processes', 2, state='busy')
    wait_metric(worker.metric, 'consumer_prefetched_messages', count - 2)
    return end


def test_the_wait_begins_when_a_task_is_sent_or_due(worker: Worker, site: Site) -> None:
    assert worker.metric(f'{WAIT}_sum', name='add') > 1
    # What this worker held it for is the smaller part.
    assert worker.metric(f'{LATENCY}_sum', name='add') < worker.metric(f'{WAIT}_sum', name='add')
    began_at = time.time()
    late = site.producer().send_task('slow', (0,), countdown=2)
    assert late.get(timeout=30) == 0
    took = time.time() - began_at
    wait_metric(worker.metric, f'{WAIT}_count', 1, name='slow')
    assert worker.metric(f'{WAIT}_sum', name='slow') <= took - 2


def test_tasks_are_counted_once_by_their_end(worker: Worker, site: Site, sqs: SqsServer) -> None:
    producer, since = site.producer(), worker.counts_from_now()
    added = [producer.send_task('add', (n, n)) for n in range(20)]
    assert [result.get(timeout=30) for result in added] == [2 * n for n in range(20)]
    assert producer.send_task('retry_demo', (2,)).get(timeout=30)
    with pytest.raises(TypeError):
        producer.send_task('add', (1, 'one')).get(timeout=30)
    producer.send_task('add', (1, 1), expires=-1)
    for name in (ending.IGNORED, ending.REJECTED):
        producer.send_task(name)

    add = {'name': 'add', 'queue': site.queue('add')}
    retry = {'name': 'retry_demo', 'queue': site.queue('retry_demo')}
    wait_metric(since, FINISHED, 1, name=ending.IGNORED, state='IGNORED')
    wait_metric(since, FINISHED, 1, name=ending.REJECTED, state='REJECTED')
    wait_metric(since, FINISHED, 20, state='SUCCESS', **add)
    wait_metric(since, FINISHED, 1, state='FAILURE', **add)
    wait_metric(since, FINISHED, 1, state='REVOKED', **add)
    wait_metric(since, FINISHED, 1, state='SUCCESS', **retry)
    wait_metric(since, FINISHED, 25)
    assert since('tasks_retried_total', **retry) == 2
    assert since('tasks_retried_total') == 2
    assert since('tasks_failed_total', exception='TypeError', **add) == 1
    assert since('tasks_failed_total') == 1
    assert since(f'{WAIT}_count', **add) == 21
    # Of a retry only what comes after its countdown.
    assert since(f'{WAIT}_count', **retry) == 3
    # Those of the next test are counted from there.
    wait_metric(since, DELETED, 22, queue=site.queue('add'))
    dead = f'err-{site.username}-local-celery'
    wait_until(lambda: sqs.visible(dead) == 1, 'the rejected message is a dead letter')


def test_requests_to_sqs_and_to_the_database_are_counted(worker: Worker, site: Site) -> None:
    add, stored = site.queue('add'), 'result_store_seconds_count'
    since = worker.counts_from_now()
    producer = site.producer()
    results = [producer.send_task('add', (n, n)) for n in range(10)]
    assert [result.get(timeout=30) for result in results] == [2 * n for n in range(10)]
    wait_metric(since, 'transport_ack_delay_seconds_count', 10, queue=add)
    assert since('transport_receive_batch_size_sum', queue=add) == 10
    wait_metric(since, DELETED, 10, queue=add)
    # STARTED and SUCCESS.
    wait_metric(since, stored, 20, operation='store')
    assert worker.metric('result_store_errors_total') == 0
    polls = worker.metric('transport_polls_total', queue=add, outcome='messages')
    assert worker.metric('transport_receive_batch_size_count', queue=add) == polls > 0
    wait_for_at_least(worker, 'transport_polls_total', 1, queue=add, outcome='empty')
    for operation in ('ReceiveMessage', 'DeleteMessageBatch', 'GetQueueAttributes'):
        requests = worker.metric('transport_requests_total', operation=operation, status='ok')
        assert requests > 0


def test_running_and_waiting_tasks_are_shown(worker: Worker, site: Site, tmp_path: Path) -> None:
    queue, oldest = f'{site.username}-local-celery', 'tasks_oldest_running_seconds'
    wait_metric(worker.metric, 'pool_processes', 2, state='idle')
    end = running(site, worker, tmp_path, 6)
    wait_metric(worker.metric, 'pool_processes', 0, state='idle')
    assert worker.metric('consumer_prefetched_messages', queue=queue) == 4
    wait_for_at_least(worker, oldest, 1)
    extensions = 'transport_visibility_extensions_total'
    wait_for_at_least(worker, extensions, 2, queue=queue, outcome='ok')
    end.touch()
    wait_metric(worker.metric, 'pool_processes', 2, state='idle')
    wait_metric(worker.metric, 'consumer_prefetched_messages', 0)
    wait_metric(worker.metric, oldest, 0)


def test_messages_that_are_handed_back_at_the_end_are_counted(
    worker: Worker, site: Site, tmp_path: Path
) -> None:
    released = 'transport_released_messages_total'
    since = worker.counts_from_now()
    end = running(site, worker, tmp_path, 5)
    worker.signal(signal.SIGTERM)
    # A receive that is in flight may bring one that was handed back.
    wait_for_at_least(worker, released, 3, queue=f'{site.username}-local-celery')
    end.touch()
    assert worker.wait_ended() == 0
    assert worker.metric(released, queue=site.queue('add')) == 0
    assert since(FINISHED, name=ending.BESIDE) == 2
