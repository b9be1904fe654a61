"""Processes of the pool are counted, with the reason of their end."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from celery.exceptions import TimeLimitExceeded

from tests.support import ending
from tests.support.metrics_left import counted_in
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

LOST = 'pool_processes_lost_total'


def started(server: Server) -> float:
    found = re.search(r'_pool_processes_started_total ([\d.]+)', server.get('/metrics')[1])
    return float(found[1]) if found else 0.0


def wait_counted(server: Server, reason: str, count: int) -> None:
    wait_until(lambda: server.metric(LOST, reason=reason) == count, f'{count} are lost: {reason}')


def test_each_lost_process_has_its_reason(site: Site, tmp_path: Path) -> None:
    with site.server(CELERY_WORKER_CONCURRENCY=1, **ending.IMPORTS) as server:
        producer = site.producer()
        assert server.metric(LOST) == 0
        assert started(server) == 1
        wait_until(lambda: server.metric('pool_processes', state='idle') == 1, 'it is idle')

        exits = producer.send_task(ending.EXITS_ONCE, (str(tmp_path / 'marker'),))
        wait_counted(server, 'exit', 1)
        assert exits.get(timeout=30) == 'done'

        killed = producer.send_task('slow', (2,))
        wait_until(lambda: killed.state == 'STARTED', 'the task runs')
        (child,) = server.pool_pids()
        os.kill(child, signal.SIGKILL)
        wait_counted(server, 'signal', 1)
        assert killed.get(timeout=30) == 2

        with pytest.raises(TimeLimitExceeded):
            producer.send_task('slow', (60,), time_limit=2).get(timeout=30)
        wait_counted(server, 'time limit', 1)
        slow = {'name': 'slow', 'queue': site.queue('slow')}
        assert server.metric('tasks_finished_total', state='FAILURE', **slow) == 1
        assert server.metric('tasks_finished_total', state='SUCCESS', **slow) == 1
        assert server.metric('tasks_failed_total', exception='TimeLimitExceeded', **slow) == 1
        assert server.metric('tasks_failed_total') == 1

        assert server.metric(LOST) == 3
        wait_until(lambda: started(server) == 4, 'each has a successor')


@pytest.mark.parametrize(
    ('variable', 'reason'),
    [('CELERY_WORKER_MAX_TASKS_PER_CHILD', 'recycled'),
     ('CELERY_WORKER_MAX_MEMORY_PER_CHILD', 'memory')],
)  # fmt: skip
def test_recycled_processes_say_why(site: Site, variable: str, reason: str) -> None:
    # One task, or a KiB that it has long had before the first.
    with site.server(CELERY_WORKER_CONCURRENCY=1, **{variable: 1}) as server:
        producer = site.producer()
        results = [producer.send_task('add', (n, n)) for n in range(2)]
        assert [result.get(timeout=60) for result in results] == [0, 2]
        wait_counted(server, reason, 2)
        assert server.metric(LOST) == 2
        wait_until(lambda: started(server) == 3, 'each has a successor')
        assert server.metric('tasks_finished_total', name='add', state='SUCCESS') == 2


def test_processes_that_end_with_the_worker_are_not_lost(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / 'metrics'
    with site.server(PROMETHEUS_MULTIPROC_DIR=folder) as server:
        result = site.producer().send_task('slow', (1,))
        wait_until(lambda: result.state == 'STARTED', 'the task runs')
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
    counted = counted_in(folder)
    assert counted('pool_processes_started_total') == 2
    assert counted(LOST) == 0
    assert counted('tasks_finished_total', name='slow', state='SUCCESS') == 1
