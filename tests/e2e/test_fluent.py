"""Event logs of tasks in a whole worker, with receivers that are there, away, slow and wrong."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.app_tasks import IMPORTS, LOGS_EVENTS
from tests.support.fluent_server import (
    FluentServer,
    closes,
    never_reads,
    rubbish,
    running_fluent,
)
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

TASK = 'examples.td.charge'
LOADED = {'CELERY_IMPORTS': ('examples.td.tasks',), 'PLATFORM_QUEUE_NAME': ''}
EVENTS = 'fluent_events_total'
#: Bytes: of a buffer that is soon full.
BUFFER = 100_000


@pytest.fixture
def receiver() -> Iterator[FluentServer]:
    with running_fluent() as server:
        yield server


def charge(site: Site, orders: range) -> None:
    """Run the example's task for each order, to its end."""
    producer = site.producer()
    results = [producer.send_task(TASK, (order, 250)) for order in orders]
    assert {result.get(timeout=60) for result in results} == {'charged 2.50 EUR'}


def charged(receiver: FluentServer) -> list[int]:
    return sorted(record['order_id'] for record in receiver.records('charges'))


def ends_well(server: Server) -> None:
    """End the server as a deployment does."""
    server.signal(signal.SIGTERM)
    assert server.wait_ended() == 0


def test_every_event_arrives_also_from_processes_that_end(
    site: Site, receiver: FluentServer
) -> None:
    tasks, events = 4, 2000
    with site.server(
        CELERY_WORKER_MAX_TASKS_PER_CHILD=1, **IMPORTS, **receiver.environment
    ) as server:
        producer = site.producer()
        # More than is sent by the end of the task, and with it of the process.
        results = [producer.send_task(LOGS_EVENTS, (events, 1000)) for _ in range(tasks)]
        assert [result.get(timeout=60) for result in results] == [events] * tasks
        receiver.wait_received(tasks * events)
        by_number = Counter(record['n'] for record in receiver.records())
        assert by_number == dict.fromkeys(range(events), tasks)
        assert receiver.connections == tasks
        # And once more, while the worker is told to end.
        assert producer.send_task(LOGS_EVENTS, (events, 1000)).get(timeout=60) == events
        ends_well(server)
    receiver.wait_received((tasks + 1) * events)


def test_a_worker_goes_through_an_outage_without_a_loss(site: Site, receiver: FluentServer) -> None:
    with site.server(**LOADED, **receiver.environment) as server:
        charge(site, range(10))
        receiver.wait_received(10)
        receiver.stop()
        charge(site, range(10, 60))
        receiver.start()
        receiver.wait_received(60)
        assert receiver.records('charges')[0].keys() == {'order_id', 'cents', 'currency'}
        assert charged(receiver) == list(range(60))
        wait_until(lambda: server.metric(EVENTS, outcome='sent') == 60, 'they are counted')
        assert server.metric(EVENTS, outcome='dropped') == 0
        # By each process of the pool that had something to send.
        assert 1 <= server.log.count('is away, trying until it is back') <= 2
        ends_well(server)


def test_no_receiver_stops_or_slows_a_worker(site: Site, receiver: FluentServer) -> None:
    producer = site.producer()
    with site.server(FLUENT_BUFFER=BUFFER, **IMPORTS, **receiver.environment) as server:
        worker, pool = server.pid_of('celery'), server.pool_pids()
        for behaviour in (rubbish, closes, never_reads, None):
            receiver.stop()
            if behaviour is not None:
                receiver.start(behaviour)
            # In all much more than the kernel keeps for two connections that nobody reads.
            results = [producer.send_task(LOGS_EVENTS, (100, BUFFER // 4)) for _ in range(10)]
            # A task that waited for its events would take minutes.
            assert [result.get(timeout=60) for result in results] == [100] * 10
        assert (server.pid_of('celery'), server.pool_pids()) == (worker, pool)
        assert server.get('/healthz')[0] == server.get('/readyz')[0] == 200
        dropped = server.metric(EVENTS, outcome='dropped')
        ends_well(server)
        log = server.log
    assert 'Traceback' not in log
    assert dropped > 1000
    assert 'do not fit in their buffer' in log
    assert 'event logs that could not be sent: events=' in log


def test_a_bad_setting_stops_the_start(site: Site) -> None:
    with site.server(wait=False, FLUENT_HOST='localhost', TD_DATABASE='Shop') as server:
        assert server.wait_ended() == 1
    assert "cannot start: TD_DATABASE='Shop': must be 3 to 128 lower-case letters" in server.log
