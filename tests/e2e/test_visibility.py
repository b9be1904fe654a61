"""Messages are hidden for as long as a worker holds them, and no longer."""

from __future__ import annotations

import signal

from tests.support.sqs import SqsServer
from tests.support.tree import kill
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

#: Seconds. The tasks below take several times as long.
SHORT = {'visibility_timeout': 2, 'wait_time_seconds': 1}
OPTIONS = {'CELERY_BROKER_TRANSPORT_OPTIONS': SHORT, 'PLATFORM_QUEUE_NAME': ''}
SECONDS = 7


def times_started(server: Server) -> float:
    return server.metric('worker_tasks_count_total', state='STARTED', name='slow')


def test_a_task_longer_than_the_visibility_timeout_runs_once(site: Site, sqs: SqsServer) -> None:
    # One child: the second task waits for it, longer than the timeout as well.
    with site.server(CELERY_WORKER_CONCURRENCY=1, **OPTIONS) as one, site.server(**OPTIONS) as two:
        results = [site.producer().send_task('slow', (SECONDS,)) for _ in range(4)]
        assert [result.get(timeout=60) for result in results] == [SECONDS] * 4
        wait_until(lambda: sqs.in_flight(site.queue('slow')) == 0, 'every message is deleted')
        assert times_started(one) + times_started(two) == 4


def test_a_task_that_outlasts_sigterm_runs_once(site: Site, sqs: SqsServer) -> None:
    with site.server(CELERY_WORKER_CONCURRENCY=1, **OPTIONS) as first:
        result = site.producer().send_task('slow', (SECONDS,))
        wait_until(lambda: result.state == 'STARTED', 'the task runs')
        with site.server(**OPTIONS) as second:
            first.signal(signal.SIGTERM)
            assert first.wait_ended() == 0
            assert result.get(timeout=5) == SECONDS
            wait_until(lambda: sqs.in_flight(site.queue('slow')) == 0, 'the message is deleted')
            assert sqs.visible(site.queue('slow')) == 0
            assert times_started(second) == 0


def test_tasks_of_a_killed_worker_are_run_by_another(site: Site) -> None:
    with site.server(CELERY_WORKER_CONCURRENCY=1, **OPTIONS) as first:
        results = [site.producer().send_task('slow', (1,)) for _ in range(3)]
        wait_until(lambda: any(result.state == 'STARTED' for result in results), 'a task runs')
        for pid in (first.process.pid, *first.processes()):
            kill(pid)
        first.wait_ended()
    with site.server(**OPTIONS):
        assert [result.get(timeout=60) for result in results] == [1] * 3
