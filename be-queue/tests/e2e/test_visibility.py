"""A running task is hidden for as long as it runs, when its worker is told to stop as well."""

from __future__ import annotations

import signal

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.worker import Server, Site

#: Seconds. The task below takes several times as long.
SHORT = {'visibility_timeout': 4, 'wait_time_seconds': 1}
OPTIONS = {'CELERY_BROKER_TRANSPORT_OPTIONS': SHORT, 'PLATFORM_QUEUE_NAME': ''}
SECONDS = 12


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
