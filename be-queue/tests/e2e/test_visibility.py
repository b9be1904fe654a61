"""A running task is hidden for as long as it runs, when its worker is told to stop as well."""

from __future__ import annotations

import signal
from pathlib import Path

from celery.result import AsyncResult

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import ending, faulty
from tests.support.faulty import DELETE, FaultySqs
from tests.support.worker import Server, Site

#: Seconds. The task below takes several times as long.
SHORT = {'visibility_timeout': 4, 'wait_time_seconds': 1}
OPTIONS = {'CELERY_BROKER_TRANSPORT_OPTIONS': SHORT, 'PLATFORM_QUEUE_NAME': ''}
SECONDS = 12


def held(site: Site, end: Path) -> AsyncResult:
    """Send a task that runs until there is a file ``end``."""
    return site.producer().send_task(ending.BESIDE, (f'{end}-marks', str(end)))


def times_started(server: Server) -> float:
    return server.metric('worker_tasks_count_total', state='STARTED', name='slow')


def test_a_task_that_outlasts_sigterm_runs_once(site: Site, sqs: SqsServer) -> None:
    with site.worker(CELERY_WORKER_CONCURRENCY=1, **OPTIONS) as first:
        result = site.producer().send_task('slow', (SECONDS,))
        wait_until(lambda: result.state == 'STARTED', 'the task runs')
        with site.worker(**OPTIONS) as second:
            first.signal(signal.SIGTERM)
            assert first.wait_ended(60) == 0
            assert result.get(timeout=30) == SECONDS
            wait_until(lambda: sqs.in_flight(site.queue('slow')) == 0, 'the message is deleted')
            assert sqs.visible(site.queue('slow')) == 0
            assert times_started(second) == 0


def test_a_task_that_ends_after_sigterm_is_deleted_when_sqs_can(
    site: Site, sqs: SqsServer, proxy: FaultySqs, tmp_path: Path
) -> None:
    once = {'client-config': {'retries': {'mode': 'standard', 'total_max_attempts': 1}}}
    options = OPTIONS | {'CELERY_BROKER_TRANSPORT_OPTIONS': SHORT | once}
    name = f'{site.username}-local-celery'
    with site.worker(SQS_ENDPOINT_URL=proxy.url, **options, **ending.IMPORTS) as server:
        results = [held(site, tmp_path / str(number)) for number in range(2)]
        wait_until(lambda: {r.state for r in results} == {'STARTED'}, 'both tasks run')
        for operation in DELETE:
            proxy.fail(operation, faulty.status(503, 'ServiceUnavailable'))
        server.signal(signal.SIGTERM)
        wait_until(lambda: 'Warm shutdown' in server.log, 'it stops')
        (tmp_path / '0').touch()
        wait_until(
            lambda: f'deleting from SQS queue {name} is unavailable' in server.log, 'one has ended'
        )
        proxy.repair()
        (tmp_path / '1').touch()
        assert server.wait_ended(60) == 0
        assert all(result.get(timeout=30) for result in results)
        assert sqs.visible(name) == sqs.in_flight(name) == 0
        assert 'will run again' not in server.log
