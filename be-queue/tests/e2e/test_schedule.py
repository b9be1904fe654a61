"""The scheduler beside the worker."""

from __future__ import annotations

import signal

from be_queue.testing.processes import alive
from be_queue.testing.waiting import wait_until
from tests.support.worker import Site


def schedule(task: str) -> str:
    return repr({'often': {'task': task, 'schedule': 0.5, 'args': (1, 2)}})


def test_scheduled_tasks_run_until_the_server_stops(site: Site) -> None:
    with site.server(CELERY_BEAT_SCHEDULE=schedule('add')) as server:
        wait_until(
            lambda: server.metric('worker_tasks_count_total', name='add', state='SUCCESS') >= 2,
            'two scheduled tasks have run',
        )
        pids = list(server.processes())
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        wait_until(lambda: not any(map(alive, pids)), 'all processes have ended')


def test_an_entry_without_a_queue_stops_the_start_in_one_line(site: Site) -> None:
    with site.server(wait=False, CELERY_BEAT_SCHEDULE=schedule('ad')) as server:
        assert server.wait_ended() == 1
        (line,) = server.log.splitlines()
    assert "cannot start: task 'ad' has no queue in the mapping: did you mean 'add'?" in line
