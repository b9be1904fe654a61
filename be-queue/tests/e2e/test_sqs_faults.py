"""Faults of SQS: the worker outlives each, and goes on by itself when it is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.worker import Server, Site

#: One of each kind: refused, unreadable, lost. `make soak` has them all, for every call.
FAULTS = {
    '503': faulty.status(503, 'ServiceUnavailable'),
    'not JSON': faulty.not_json,
    'reset': faulty.reset,
}
OPTIONS = {'CELERY_BROKER_TRANSPORT_OPTIONS': {'wait_time_seconds': 1}, 'PLATFORM_QUEUE_NAME': ''}


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    """Its producers go to the SQS server without the detour."""
    return Site(tmp_path, sqs.url, postgres.environment)


def assert_works(site: Site, server: Server) -> None:
    results = [site.producer().send_task('add', (n, 1)) for n in range(20)]
    assert [result.get(timeout=60) for result in results] == [n + 1 for n in range(20)]


def test_receiving_goes_on_after_every_fault(site: Site, proxy: FaultySqs) -> None:
    with site.worker(SQS_ENDPOINT_URL=proxy.url, **OPTIONS) as server:
        worker = server.pid_of('celery')
        queue = f'SQS queue {site.queue("add")}'
        for nth, (name, fault) in enumerate(FAULTS.items(), 1):
            proxy.fail('ReceiveMessage', fault)
            wait_until(
                lambda nth=nth: server.log.count(f'{queue} is unavailable') == nth,
                f'the log says once that the queue is unavailable: {name}',
                timeout=40,
            )
            proxy.repair()
            assert_works(site, server)
            wait_until(
                lambda nth=nth: server.log.count(f'{queue} is back') == nth,
                f'the log says once that it is back: {name}',
            )
        assert server.pid_of('celery') == worker


def test_finished_tasks_are_deleted_after_every_fault(
    site: Site, proxy: FaultySqs, sqs: SqsServer
) -> None:
    name = site.queue('add')
    with site.worker(SQS_ENDPOINT_URL=proxy.url, **OPTIONS) as server:
        worker = server.pid_of('celery')
        for nth, fault in enumerate(FAULTS.values(), 1):
            proxy.fail('DeleteMessageBatch', fault)
            # More than the worker may hold: deletes that fail keep no room.
            assert_works(site, server)
            wait_until(
                lambda nth=nth: (
                    server.log.count(f'deleting from SQS queue {name} is unavailable') == nth
                ),
                'the log says so once',
                timeout=40,
            )
            proxy.repair()
            wait_until(
                lambda nth=nth: server.log.count(f'deleting from SQS queue {name} is back') == nth,
                'the log says that it is over',
                timeout=40,
            )
            wait_until(lambda: sqs.in_flight(name) == 0, 'every message is deleted')
        assert sqs.visible(name) == 0
        count = 20 * len(FAULTS)
        assert server.metric('worker_tasks_count_total', state='SUCCESS', name='add') == count
        assert server.pid_of('celery') == worker
