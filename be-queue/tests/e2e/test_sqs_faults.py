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


def test_receiving_and_deleting_go_on_after_every_fault(
    site: Site, proxy: FaultySqs, sqs: SqsServer
) -> None:
    name = site.queue('add')
    servers = {
        'ReceiveMessage': f'SQS queue {name}',
        'DeleteMessageBatch': f'deleting from SQS queue {name}',
    }
    with site.worker(SQS_ENDPOINT_URL=proxy.url, **OPTIONS) as server:
        worker = server.pid_of('celery')

        def wait_logged(text: str, nth: int) -> None:
            wait_until(lambda: server.log.count(f'\t{text}') == nth, f'{text}: {nth}', timeout=40)

        for nth, fault in enumerate(FAULTS.values(), 1):
            for operation, what in servers.items():
                proxy.fail(operation, fault)
                if operation == 'DeleteMessageBatch':
                    # More than the worker may hold: deletes that fail keep no room.
                    assert_works(site, server)
                wait_logged(f'{what} is unavailable', nth)
                proxy.repair()
                assert_works(site, server)
                wait_logged(f'{what} is back', nth)
                wait_until(lambda: sqs.in_flight(name) == 0, 'every message is deleted')
        assert sqs.visible(name) == 0
        count = 60 * len(FAULTS)
        assert server.metric('worker_tasks_count_total', state='SUCCESS', name='add') == count
        assert server.pid_of('celery') == worker
