"""What an operator sees of a worker: its tasks, its pool, its transport, its results."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ending
from tests.support.metrics_left import counted_in
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site


def wait_for(server: Server, name: str, value: float, /, **labels: str) -> None:
    def found() -> float:
        return server.metric(name, **labels)

    wait_until(lambda: found() == value, f'{name} {labels} is {value}')


def at_least(server: Server, name: str, value: float, /, **labels: str) -> Callable[[], bool]:
    return lambda: server.metric(name, **labels) >= value


def test_tasks_are_counted_once_by_their_end(site: Site, sqs: SqsServer) -> None:
    with site.server(**ending.IMPORTS) as server:
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
        wait_for(server, finished, 20, state='SUCCESS', **add)
        wait_for(server, finished, 1, state='FAILURE', **add)
        wait_for(server, finished, 1, state='REVOKED', **add)
        wait_for(server, finished, 1, state='SUCCESS', **retry)
        assert server.metric(finished) == 25
        assert server.metric('tasks_retried_total', **retry) == 2
        assert server.metric('tasks_retried_total') == 2
        assert server.metric('tasks_failed_total', exception='TypeError', **add) == 1
        assert server.metric('tasks_failed_total') == 1
        assert server.metric('tasks_wait_seconds_count', **add) == 21
        # Of a retry only what comes after its countdown.
        assert server.metric('tasks_wait_seconds_count', **retry) == 3
        dead = f'err-{site.username}-local-celery'
        wait_until(lambda: sqs.visible(dead) == 1, 'what was rejected is a dead letter')


def test_the_wait_begins_when_a_task_is_sent(site: Site) -> None:
    producer = site.producer()
    early = producer.send_task('add', (1, 1))
    sent_at = time.time()
    wait_until(lambda: time.time() > sent_at + 3, 'it has waited for a worker')
    with site.server() as server:
        # Its time comes later: until then it does not wait.
        began_at = time.time()
        late = producer.send_task('slow', (0,), countdown=3)
        assert early.get(timeout=30) == 2
        assert late.get(timeout=30) == 0
        took = time.time() - began_at
        wait_for(server, 'tasks_wait_seconds_count', 1, name='add')
        wait_for(server, 'tasks_wait_seconds_count', 1, name='slow')
        wait, latency = 'tasks_wait_seconds_sum', 'tasks_latency_seconds_sum'
        assert server.metric(wait, name='add') - server.metric(latency, name='add') > 3
        assert server.metric(wait, name='slow') <= took - 3


def test_what_runs_and_what_waits_is_shown(site: Site) -> None:
    with site.server(CELERY_WORKER_PREFETCH_MULTIPLIER=3) as server:
        queue = site.queue('slow')
        wait_for(server, 'pool_processes', 2, state='idle')
        results = [site.producer().send_task('slow', (2,)) for _ in range(6)]
        wait_for(server, 'pool_processes', 2, state='busy')
        wait_for(server, 'pool_processes', 0, state='idle')
        wait_for(server, 'consumer_prefetched_messages', 4, queue=queue)
        assert server.metric('consumer_prefetched_messages') == 4
        wait_until(lambda: oldest_running(server) > 1, 'it runs for a second')
        age = 'queue_oldest_message_age_estimate_seconds'
        # The last receive may have brought only what was sent after the task that runs.
        wait_until(lambda: server.metric(age, queue=queue) > 1, 'its message is older')
        assert server.metric(age, queue=site.queue('add')) == 0
        for result in results:
            result.get(timeout=60)
        wait_for(server, 'pool_processes', 2, state='idle')
        wait_for(server, 'consumer_prefetched_messages', 0)
        assert oldest_running(server) == 0


def oldest_running(server: Server) -> float:
    for line in server.get('/metrics')[1].splitlines():
        if line.startswith('python_backend_worker_template_tasks_oldest_running_seconds '):
            return float(line.split()[1])
    raise AssertionError('there is no such metric')


def test_what_is_asked_of_sqs_and_of_the_database_is_counted(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / 'metrics'
    variables = {
        'PROMETHEUS_MULTIPROC_DIR': folder,
        'CELERY_BROKER_TRANSPORT_OPTIONS': {'visibility_timeout': 4},
        'CELERY_WORKER_PREFETCH_MULTIPLIER': 3,
    }
    with site.server(**variables) as server:
        producer = site.producer()
        added = [producer.send_task('add', (n, n)) for n in range(30)]
        assert [result.get(timeout=30) for result in added] == [2 * n for n in range(30)]
        add, slow = site.queue('add'), site.queue('slow')
        wait_for(server, 'transport_ack_delay_seconds_count', 30, queue=add)
        assert server.metric('transport_receive_batch_size_sum', queue=add) == 30
        assert server.metric('transport_delete_batch_size_sum', queue=add) == 30
        polls = server.metric('transport_polls_total', queue=add, outcome='messages')
        assert server.metric('transport_receive_batch_size_count', queue=add) == polls > 0
        wait_until(
            at_least(server, 'transport_polls_total', 1, queue=add, outcome='empty'), 'none is left'
        )
        for operation in ('ReceiveMessage', 'DeleteMessageBatch', 'GetQueueAttributes'):
            requests = server.metric('transport_requests_total', operation=operation, status='ok')
            assert requests > 0
        # STARTED and SUCCESS.
        assert server.metric('result_store_seconds_count', operation='store') == 60
        assert server.metric('result_store_errors_total') == 0

        results = [producer.send_task('slow', (2,)) for _ in range(5)]
        wait_until(lambda: sum(r.state == 'STARTED' for r in results) == 2, 'two run')
        wait_for(server, 'consumer_prefetched_messages', 3, queue=slow)
        wait_until(
            at_least(server, 'transport_visibility_extensions_total', 5, queue=slow, outcome='ok'),
            'all are kept hidden',
        )
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
    counted = counted_in(folder)
    # A receive that is in flight may bring one that was handed back.
    assert counted('transport_released_messages_total', queue=slow) >= 3
    assert counted('transport_released_messages_total', queue=add) == 0
    assert counted('tasks_finished_total', name='slow') == 2
