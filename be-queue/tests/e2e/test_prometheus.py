"""A real Prometheus with the shipped configuration, and a real worker that it scrapes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from be_queue.naming import dead_letter_name
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.dashboard import PREFIX, dashboard, expressions, filled_in
from tests.support.prometheus import PrometheusServer, running_prometheus
from tests.support.worker import Site

#: Panels that stay empty while nothing goes wrong, nothing stops and nothing is limited.
QUIET = {
    'Alerts that fire',
    'Messages handed back',
    'Visibility extensions',
    'Permits',
    'Permits granted by queue',
    'Permits asked by queue',
    'Time held back',
    'Queues by state of their limit',
    'Limiter errors',
}
#: The same for a part of a panel.
QUIET_SERIES = {
    'Pool processes started and lost: lost: {{reason}}',
    'Other errors, and event logs: result store: {{operation}}',
    'Other errors, and event logs: events: {{outcome}}',
}
#: More than the twenty tasks of which the failure rate is worth an alert.
FAILING = 40


@pytest.fixture(scope='module')
def site(
    sqs: SqsServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    return Site(tmp_path_factory.mktemp('worker'), sqs.url, postgres.environment)


@pytest.fixture(scope='module')
def prometheus(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    folder = tmp_path_factory.mktemp('prometheus') / 'prometheus'
    with (
        site.server(QUEUE_DEPTH_INTERVAL=1) as worker,
        running_prometheus(folder, worker.url.removeprefix('http://')) as server,
    ):
        wait_until(lambda: server.value('up') == 1, 'Prometheus scrapes the worker')
        yield server


def test_the_dashboard_shows_a_running_worker(prometheus: PrometheusServer, site: Site) -> None:
    producer = site.producer()
    finished = f'sum({PREFIX}tasks_finished_total)'
    for _ in range(2):
        # Rates need two samples: a task before the first of them and one after.
        sent = (prometheus.value(finished) or 0) + 3
        producer.send_task('add', (1, 2))
        producer.send_task('retry_demo', (1,))
        producer.send_task('slow', ('not a number',))
        wait_until(lambda sent=sent: prometheus.value(finished) == sent, 'the tasks have ended')
    for expression in expressions():
        prometheus.query(filled_in(expression))

    def empty() -> set[str]:
        return {
            f'{panel["title"]}: {target["legendFormat"]}'
            for panel in dashboard()['panels']
            if panel['title'] not in QUIET
            for target in panel.get('targets', ())
            if not prometheus.query(filled_in(target['expr']))
        }

    with contextlib.suppress(AssertionError):
        wait_until(lambda: empty() <= QUIET_SERIES, 'everything else has something to show')
    assert empty() - QUIET_SERIES == set()


def test_alerts_fire_and_end(prometheus: PrometheusServer, site: Site, sqs: SqsServer) -> None:
    producer, queue = site.producer(), site.queue('slow')
    failed = f'sum({PREFIX}tasks_finished_total{{state="FAILURE"}})'
    # An increase has a beginning: the first failure must have been seen.
    before = prometheus.value(failed) or 0
    producer.send_task('slow', ('not a number',))
    wait_until(lambda: prometheus.value(failed) > before, 'the first failure is seen')
    assert not prometheus.firing().keys() & {'WorkerFailureRate', 'WorkerDeadLetters'}

    for _ in range(FAILING):
        producer.send_task('slow', ('not a number',))
    client = sqs.client()
    url, dead_url = (
        client.get_queue_url(QueueName=name)['QueueUrl']
        for name in (queue, dead_letter_name(queue))
    )
    client.send_message(QueueUrl=url, MessageBody='not a task')
    rate = wait_until(lambda: prometheus.firing().get('WorkerFailureRate'), 'failures fire')
    dead = wait_until(lambda: prometheus.firing().get('WorkerDeadLetters'), 'dead letters fire')
    assert {alert['labels']['name'] for alert in rate} == {'slow'}
    assert rate[0]['annotations']['summary'] == '100% of the tasks slow fail.'
    (alert,) = dead
    assert alert['labels']['queue'] == queue
    assert alert['annotations']['summary'] == f'Dead letters of {queue}: 1.'
    # Nothing else is wrong with this worker.
    assert prometheus.firing().keys() <= {
        'WorkerFailureRate',
        'WorkerFailureRateHigh',
        'WorkerDeadLetters',
    }

    client.purge_queue(QueueUrl=dead_url)
    wait_until(lambda: 'WorkerDeadLetters' not in prometheus.firing(), 'there are none any more')
