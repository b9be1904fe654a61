"""Roles of STS: a session ends, and another takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import REGION, SqsServer, running_sqs
from be_queue.testing.waiting import wait_until
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.own_tasks import build, predefined
from tests.support.own_worker import own_worker
from tests.support.worker import Site

TRANSPORT = 'be_queue.transport:Transport'
#: STS has names for its operations elsewhere than SQS.
ASSUME_ROLE = ''


@pytest.fixture(scope='module')
def sqs() -> Iterator[SqsServer]:
    """With STS beside it."""
    with running_sqs('sqs,sts') as server:
        yield server


def test_a_worker_outlives_sts(
    tmp_path: Path,
    sqs: SqsServer,
    proxy: FaultySqs,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f'http://127.0.0.1:{proxy.port}'
    site = Site(tmp_path, url, postgres.environment)
    login = {
        'AWS_ENDPOINT_URL_STS': url,
        'AWS_DEFAULT_REGION': REGION,
        'AWS_ACCESS_KEY_ID': 'test',
        'AWS_SECRET_ACCESS_KEY': 'test',
    }
    for name, value in login.items():
        monkeypatch.setenv(name, value)
    options = {
        'predefined_queues': predefined(site.username, sqs),
        'wait_time_seconds': 1,
        'sts_role_arn': 'arn:aws:iam::000000000000:role/worker',
        # A session of 15 minutes, the shortest that there is, renewed after five seconds.
        'sts_token_timeout': 900,
        'sts_token_buffer_time': 895,
    }
    app = build(
        site.username,
        SQS_ENDPOINT_URL=url,
        broker_transport=TRANSPORT,
        broker_transport_options=options,
        **postgres.environment,
    )
    worker_options = {'CELERY_BROKER_TRANSPORT_OPTIONS': options}
    # Each queue has a session of its own.
    queue = f'{site.username}-local-tests-add'
    with own_worker(
        site, '-Q', queue, CELERY_BROKER_TRANSPORT=TRANSPORT, **worker_options, **login
    ) as worker:
        assert app.send_task('tests.add', (1, 2)).get(timeout=30) == 3
        proxy.fail(ASSUME_ROLE, faulty.status(503, 'ServiceUnavailable'))
        wait_until(
            lambda: 'is unavailable' in worker.log, 'its session has ended and there is no other'
        )
        proxy.repair()
        assert app.send_task('tests.add', (1, 2)).get(timeout=60) == 3
        assert 'Traceback' not in worker.log
