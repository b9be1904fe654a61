"""Event logs of tasks in a worker, with a receiver that is unavailable for a while."""

from __future__ import annotations

import signal
from collections import Counter

from be_queue.testing.waiting import wait_until
from tests.support.app_tasks import IMPORTS, LOGS_EVENTS
from tests.support.fluent_server import running_fluent
from tests.support.worker import Site

EVENTS = 500


def test_every_event_arrives_or_is_counted_also_from_processes_that_end(site: Site) -> None:
    producer = site.producer()

    def log_events() -> None:
        # More than is sent by the end of the task, and with it of the process.
        assert producer.send_task(LOGS_EVENTS, (EVENTS, 1000)).get(timeout=60) == EVENTS

    with (
        running_fluent() as receiver,
        site.worker(
            CELERY_WORKER_MAX_TASKS_PER_CHILD=1, **IMPORTS, **receiver.environment
        ) as worker,
    ):

        def counted(outcome: str) -> float:
            return worker.metric('fluent_events_total', outcome=outcome)

        log_events()
        log_events()
        receiver.wait_received(2 * EVENTS)
        assert receiver.connections == 2

        receiver.stop()
        log_events()
        wait_until(lambda: counted('dropped') == EVENTS, 'they are dropped')
        assert 'is unavailable, trying until it is back' in worker.log
        assert f'event logs that could not be sent: events={EVENTS}' in worker.log

        receiver.start()
        log_events()
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == 0
        receiver.wait_received(3 * EVENTS)
        by_number = Counter(record['n'] for record in receiver.records())
        assert by_number == dict.fromkeys(range(EVENTS), 3)
        assert (counted('sent'), counted('dropped')) == (3 * EVENTS, EVENTS)
        assert 'Traceback' not in worker.log
