"""Credentials that expire or cannot be obtained for a while: workers and producers go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from celery import Celery
from kombu.asynchronous import Hub

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import REGION, SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.transport.observer import watch_requests
from tests.integration.consuming import consuming
from tests.integration.scene import Scene
from tests.support.faulty import FaultySqs
from tests.support.login import Gate, key
from tests.support.loop import requests_in_loop, turn_until
from tests.support.noting import Noting
from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.worker import Site

TRANSPORT = 'be_queue.transport:Transport'
#: Seconds for which credentials are good.
LONG = 600.0
GOOD = f"""#!/bin/sh
end=$(($(date +%s) + 60))
printf '{{"Version": 1, "AccessKeyId": "{key(3600)}", "SecretAccessKey": "secret", '
printf '"Expiration": "%s"}}' "$(date -u -d @$end +%Y-%m-%dT%H:%M:%SZ)"
"""
#: Programs that give no credentials, and the exception of botocore for each.
BAD = {
    'RuntimeError': GOOD.replace('+ 60', '- 60'),  # they have expired
    'JSONDecodeError': '#!/bin/sh\necho "Please log in"',
}


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


def replace(path: Path, text: str, mode: int = 0o600) -> None:
    draft = path.with_suffix('.draft')
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


def write_login(path: Path, name: str) -> dict[str, str]:
    """Write a shared credentials file; return the variable that leads there."""
    replace(path, f'[default]\naws_access_key_id = {name}\naws_secret_access_key = secret\n')
    return {'AWS_SHARED_CREDENTIALS_FILE': str(path)}


def test_a_worker_reads_a_rewritten_credentials_file(
    site: Site, sqs: SqsServer, gate: Gate, postgres: PostgresServer
) -> None:
    path = site.folder / 'credentials'
    app = producer(site, sqs.url, postgres)
    variables = write_login(path, first := key(LONG)) | {
        'CELERY_BROKER_TRANSPORT': TRANSPORT,
        'CELERY_BROKER_TRANSPORT_OPTIONS': {'wait_time_seconds': 1},
    }
    with own_worker(site, **variables) as worker:
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

        def sends() -> bool:
            try:
                app.send_task('tests.add', (1, 2), producer=sender, retry=False)
            except ClientError:
                return False
            return True

        assert sends()
        gate.revoked.add(first)
        assert not sends()
        write_login(path, second := key(LONG + 60))
        wait_until(sends, 'it sends again')
    assert sqs.visible(f'{site.username}-local-tests-add') == 2
    assert gate.used == {first, second}


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that writes credentials of a minute: botocore runs it for each request."""
    script, settings = tmp_path / 'login', tmp_path / 'aws'
    settings.write_text(f'[default]\ncredential_process = {script}\n')
    monkeypatch.setenv('AWS_CONFIG_FILE', str(settings))
    replace(script, GOOD, 0o700)
    return script


@pytest.mark.parametrize('fault', BAD)
def test_a_request_has_an_outcome_when_a_login_process_fails(
    login: Path, proxy: FaultySqs, hub: Hub, fault: str
) -> None:
    client = boto3.Session().client(
        'sqs',
        endpoint_url=f'http://127.0.0.1:{proxy.port}',
        region_name=REGION,
        config=Config(retries={'mode': 'standard', 'total_max_attempts': 2}),
    )
    noted, blocking = Noting(), Noting()
    watch_requests(client, blocking)
    requests = requests_in_loop(hub, client, noted)
    answers: list[Any] = []
    errors: list[Exception] = []
    replace(login, BAD[fault], 0o700)
    requests.call('', 'ListQueues', {}, answers.append, errors.append)
    assert [type(error).__name__ for error in errors] == [fault]
    with pytest.raises((RuntimeError, ValueError)):
        client.list_queues()
    assert noted.requests == blocking.requests == [('ListQueues', 'denied')]
    replace(login, GOOD, 0o700)
    requests.call('', 'ListQueues', {}, answers.append, errors.append)
    turn_until(hub, lambda: answers, 'it is answered')


def test_what_a_worker_waits_for_at_its_end_may_have_no_credentials(
    scene: Scene, login: Path, proxy: FaultySqs, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    app = scene.app(f'http://127.0.0.1:{proxy.port}', visibility_timeout=3)
    for _ in range(2):
        app.send_task('work')
    with consuming(app, hub, scene.work) as consumer:
        consumer.wait_for(2)
        acked, held = consumer.held
        replace(login, BAD['JSONDecodeError'], 0o700)
        acked.ack()
        consumer.consumer.cancel()
        assert 'JSONDecodeError' in caplog.text
        extensions = consumer.noted.extensions
        wait_until(lambda: (0, 1) in extensions, 'the other cannot be extended')
        url = held.delivery_info['sqs_queue']
        consumer.channel.hand_back.release_handles(scene.work, url, [held.delivery_tag])
        assert 'messages were not handed back' in caplog.text
        before = len(extensions)
        replace(login, GOOD, 0o700)
        wait_until(lambda: any(n for n, _ in extensions[before:]), 'it is extended again')
