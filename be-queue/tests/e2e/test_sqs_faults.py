"""Faults of SQS: the worker outlives each, and goes on by itself when it is over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery import Celery

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.worker import Site

#: `make soak` has all kinds, for every call.
FAULTS = [
    ('ReceiveMessage', faulty.status(503, 'ServiceUnavailable')),
    ('DeleteMessageBatch', faulty.not_json),
    ('ReceiveMessage', faulty.reset),
    ('DeleteMessageBatch', faulty.status(503, 'ServiceUnavailable')),
]
OPTIONS = {'CELERY_BROKER_TRANSPORT_OPTIONS': {'wait_time_seconds': 1}, 'PLATFORM_QUEUE_NAME': ''}


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    """Its producers go to the SQS server without the detour."""
    return Site(tmp_path, sqs.url, postgres.environment)


def assert_works(producer: Celery) -> None:
    # More than the worker may hold: deletes that fail keep no room.
    results = [producer.send_task('add', (n, 1)) for n in range(20)]
    assert [result.get(timeout=60) for result in results] == [n + 1 for n in range(20)]


def test_receiving_and_deleting_go_on_after_every_fault(
    site: Site, proxy: FaultySqs, sqs: SqsServer
) -> None:
    name = site.queue('add')
    servers = {
        'ReceiveMessage': f'(?<!from )SQS queue {name}',
        'DeleteMessageBatch': f'deleting from SQS queue {name}',
    }
    with site.worker(SQS_ENDPOINT_URL=proxy.url, **OPTIONS) as server:
        producer, worker = site.producer(), server.pid_of('celery')

        def wait_logged(text: str, nth: int) -> None:
            lines = re.compile(text)
            wait_until(lambda: len(lines.findall(server.log)) == nth, f'{text}: {nth}', timeout=40)

        for number, (operation, fault) in enumerate(FAULTS):
            nth = 1 + number // 2
            proxy.fail(operation, fault)
            if operation == 'DeleteMessageBatch':
                assert_works(producer)
            wait_logged(f'{servers[operation]} is unavailable', nth)
            proxy.repair()
            assert_works(producer)
            wait_logged(f'{servers[operation]} is back', nth)
            wait_until(lambda: sqs.in_flight(name) == 0, 'every message is deleted')
        assert sqs.visible(name) == 0
        assert server.metric('worker_tasks_count_total', state='SUCCESS', name='add') == 120
        assert server.pid_of('celery') == worker
