"""Roles of STS: a session ends, and another takes its place on every queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

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


@pytest.fixture
def site(tmp_path: Path, proxy: FaultySqs, postgres: PostgresServer) -> Site:
    return Site(tmp_path, f'http://127.0.0.1:{proxy.port}', postgres.environment)


@pytest.fixture
def login(proxy: FaultySqs, site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that lead to STS, here and for the worker."""
    variables = {
        'AWS_ENDPOINT_URL_STS': f'http://127.0.0.1:{proxy.port}',
        'AWS_DEFAULT_REGION': REGION,
        'AWS_ACCESS_KEY_ID': 'test',
        'AWS_SECRET_ACCESS_KEY': 'test',
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def options(site: Site, sqs: SqsServer) -> dict[str, Any]:
    return {
        'predefined_queues': predefined(site.username, sqs),
        'wait_time_seconds': 1,
        'sts_role_arn': 'arn:aws:iam::000000000000:role/worker',
        # A session of 15 minutes, the shortest that there is, renewed after five seconds.
        'sts_token_timeout': 900,
        'sts_token_buffer_time': 895,
    }


@pytest.fixture
def app(
    site: Site, options: dict[str, Any], login: dict[str, str], postgres: PostgresServer
) -> Celery:
    return build(
        site.username,
        SQS_ENDPOINT_URL=site.environment['SQS_ENDPOINT_URL'],
        broker_transport=TRANSPORT,
        broker_transport_options=options,
        **postgres.environment,
    )


def test_a_new_session_is_used_for_every_queue(app: Celery, options: dict[str, Any]) -> None:
    # To make clients of every queue may outlast a session on a busy machine.
    queues = list(options['predefined_queues'])[:2]

    def key(channel: Any) -> str:
        """Return what two queues sign with; '' when a session has ended meanwhile."""
        clients = [channel.sqs(queue=queue) for queue in queues]
        keys = {client._request_signer._credentials.access_key for client in clients}
        return keys.pop() if len(keys) == 1 else ''

    with app.connection_for_write() as connection, connection.channel() as channel:
        first = wait_until(lambda: key(channel), 'all queues have one session')
        wait_until(lambda: key(channel) not in ('', first), 'all queues have another')


def test_a_worker_outlives_sts(
    app: Celery, site: Site, options: dict[str, Any], login: dict[str, str], proxy: FaultySqs
) -> None:
    worker_options = {'CELERY_BROKER_TRANSPORT_OPTIONS': options}
    with own_worker(site, CELERY_BROKER_TRANSPORT=TRANSPORT, **worker_options, **login) as worker:
        assert app.send_task('tests.add', (1, 2)).get(timeout=30) == 3
        proxy.fail(ASSUME_ROLE, faulty.status(503, 'ServiceUnavailable'))
        wait_until(
            lambda: 'is unavailable' in worker.log, 'its session has ended and there is no other'
        )
        proxy.repair()
        assert app.send_task('tests.add', (1, 2)).get(timeout=60) == 3
        assert 'Traceback' not in worker.log
