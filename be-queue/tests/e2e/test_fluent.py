"""Event logs of tasks in a worker, with receivers that are there, unavailable and stuck."""

from __future__ import annotations

import signal
from collections import Counter

from be_queue.testing.waiting import wait_until
from tests.support.app_tasks import IMPORTS, LOGS_EVENTS
from tests.support.fluent_server import never_reads, running_fluent
from tests.support.worker import Site

SENT = 'fluent_events_total'
#: Bytes of a buffer that is soon full.
BUFFER = 100_000


def test_every_event_arrives_also_from_processes_that_end(site: Site) -> None:
    tasks, events = 3, 500
    with (
        running_fluent() as receiver,
        site.worker(
            CELERY_WORKER_MAX_TASKS_PER_CHILD=1, **IMPORTS, **receiver.environment
        ) as worker,
    ):
        producer = site.producer()
        # More than is sent by the end of the task, and with it of the process.
        results = [producer.send_task(LOGS_EVENTS, (events, 1000)) for _ in range(tasks)]
        assert [result.get(timeout=60) for result in results] == [events] * tasks
        receiver.wait_received(tasks * events)
        assert receiver.connections == tasks
        # And once more, while the worker is told to end.
        assert producer.send_task(LOGS_EVENTS, (events, 1000)).get(timeout=60) == events
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == 0
        receiver.wait_received((tasks + 1) * events)
        by_number = Counter(record['n'] for record in receiver.records())
        assert by_number == dict.fromkeys(range(events), tasks + 1)
        assert worker.metric(SENT, outcome='sent') == (tasks + 1) * events
        assert worker.metric(SENT, outcome='dropped') == 0


def test_no_receiver_stops_or_slows_a_worker(site: Site) -> None:
    producer = site.producer()
    with (
        running_fluent(never_reads) as receiver,
        site.worker(FLUENT_BUFFER=BUFFER, **IMPORTS, **receiver.environment) as worker,
    ):
        pool = worker.pool_pids()
        for is_there in (True, False):
            if not is_there:
                receiver.stop()
            # In all much more than the kernel keeps for two connections that nobody reads.
            results = [producer.send_task(LOGS_EVENTS, (100, BUFFER // 4)) for _ in range(10)]
            # A task that waited for its events would take minutes.
            assert [result.get(timeout=60) for result in results] == [100] * 10
        wait_until(
            lambda: 'is unavailable, trying until it is back' in worker.log, 'the log says so'
        )
        assert worker.pool_pids() == pool
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == 0
        assert 'Traceback' not in worker.log
        assert 'do not fit in their buffer' in worker.log
        assert 'event logs that could not be sent: events=' in worker.log
        # Events that the connection took count as sent.
        total = 2 * 10 * 100
        assert worker.metric(SENT, outcome='dropped') + worker.metric(SENT, outcome='sent') == total
        assert worker.metric(SENT, outcome='dropped') > 0
