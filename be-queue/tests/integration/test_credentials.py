"""Credentials that expire: a worker and a producer go on with those that replace them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from celery import Celery

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.faulty import FaultySqs
from tests.support.login import Gate, key
from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.worker import Site

TRANSPORT = 'be_queue.transport:Transport'
WORKER = {
    'CELERY_BROKER_TRANSPORT': TRANSPORT,
    'CELERY_BROKER_TRANSPORT_OPTIONS': {'wait_time_seconds': 1},
}
#: Seconds for which credentials are good.
LONG = 600.0


@pytest.fixture
def gate(proxy: FaultySqs) -> Gate:
    gate = Gate()
    proxy.fail('*', gate)
    return gate


@pytest.fixture
def site(tmp_path: Path, proxy: FaultySqs, postgres: PostgresServer) -> Site:
    """Nobody has credentials from its URL."""
    return Site(tmp_path, f'http://127.0.0.1:{proxy.port}', postgres.environment)


def producer(site: Site, url: str, postgres: PostgresServer) -> Celery:
    return build(
        site.username, SQS_ENDPOINT_URL=url, broker_transport=TRANSPORT, **postgres.environment
    )


def write_login(path: Path, name: str) -> dict[str, str]:
    """Write a shared credentials file; return the variable that leads there."""
    text = f'[default]\naws_access_key_id = {name}\naws_secret_access_key = secret\n'
    draft = path.with_suffix('.draft')
    draft.write_text(text)
    draft.replace(path)
    return {'AWS_SHARED_CREDENTIALS_FILE': str(path)}


def test_a_worker_reads_a_rewritten_credentials_file(
    site: Site, sqs: SqsServer, gate: Gate, postgres: PostgresServer
) -> None:
    path = site.folder / 'credentials'
    app = producer(site, sqs.url, postgres)
    login = write_login(path, first := key(LONG))
    with own_worker(site, **WORKER, **login) as worker:
        assert app.send_task('tests.add', (1, 2)).get(timeout=30) == 3
        gate.revoked.add(first)
        wait_until(lambda: 'ExpiredToken' in worker.log, 'the log says what is wrong')
        write_login(path, second := key(LONG + 60))
        renewed = 'credentials for SQS were renewed: source=shared-credentials-file'
        wait_until(lambda: renewed in worker.log, 'the log says so')
        assert app.send_task('tests.add', (2, 2)).get(timeout=60) == 4
    assert gate.used == {first, second}
    assert 'AKIA' not in worker.log


def test_a_producer_reads_a_rewritten_credentials_file(
    site: Site,
    sqs: SqsServer,
    gate: Gate,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = site.folder / 'credentials'
    for name, value in write_login(path, first := key(LONG)).items():
        monkeypatch.setenv(name, value)
    app = producer(site, site.environment['SQS_ENDPOINT_URL'], postgres)
    with app.connection_for_write() as connection:
        sender = app.amqp.Producer(connection, auto_declare=False)
        app.send_task('tests.add', (1, 2), producer=sender)
        gate.revoked.add(first)
        with pytest.raises(ClientError, match='Expired'):
            app.send_task('tests.add', (1, 2), producer=sender, retry=False)
        second = key(LONG + 60)
        write_login(path, second)
        wait_until(lambda: _sends(app, sender), 'it sends again')
    assert sqs.visible(f'{site.username}-local-tests-add') == 2
    assert gate.used == {first, second}


def _sends(app: Celery, sender: Any) -> bool:
    try:
        app.send_task('tests.add', (1, 2), producer=sender, retry=False)
    except ClientError:
        return False
    return True
