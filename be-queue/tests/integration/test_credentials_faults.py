"""Sources of credentials that fail for a while: each request has an outcome, and workers go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import kombu
import pytest
from botocore.config import Config
from kombu.asynchronous import Hub

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import REGION, SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.transport.observer import watch_requests
from tests.integration.scene import Scene
from tests.support.faulty import FaultySqs
from tests.support.login import Gate, key
from tests.support.loop import requests_in_loop, turn_until
from tests.support.noting import Noting
from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.worker import Site

TRANSPORT = 'be_queue.transport:Transport'
GOOD = f"""
end=$(($(date +%s) + 60))
printf '{{"Version": 1, "AccessKeyId": "{key(3600)}", "SecretAccessKey": "secret", '
printf '"Expiration": "%s"}}' "$(date -u -d @$end +%Y-%m-%dT%H:%M:%SZ)"
"""
#: Output of a program that gives no credentials, and the exception of botocore for it.
BAD = {
    'expired': (GOOD.replace('+ 60', '- 60'), 'RuntimeError'),
    'rubbish': ('echo "Please log in"', 'JSONDecodeError'),
}


class Login:
    """A program that writes credentials of a minute: botocore runs it for each request."""

    def __init__(self, folder: Path) -> None:
        self._script = folder / 'login'
        self._settings = folder / 'aws'
        self._settings.write_text(f'[default]\ncredential_process = {self._script}\n')
        self.write(GOOD)

    @property
    def variables(self) -> dict[str, str]:
        return {'AWS_CONFIG_FILE': str(self._settings)}

    def write(self, text: str) -> None:
        draft = self._script.with_suffix('.draft')
        draft.write_text(f'#!/bin/sh\n{text}')
        draft.chmod(0o700)
        draft.replace(self._script)


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login(tmp_path)


def client_of(proxy: FaultySqs) -> Any:
    return boto3.Session().client(
        'sqs',
        endpoint_url=f'http://127.0.0.1:{proxy.port}',
        region_name=REGION,
        config=Config(retries={'mode': 'standard', 'total_max_attempts': 2}),
    )


def ask(hub: Hub, client: Any, observer: Noting) -> tuple[list[Any], list[Exception]]:
    """Ask SQS from the event loop; return the answers and the errors."""
    answers: list[Any] = []
    errors: list[Exception] = []
    requests = requests_in_loop(hub, client, observer)
    requests.call('', 'ListQueues', {}, answers.append, errors.append)
    turn_until(hub, lambda: answers or errors, 'the request has ended')
    return answers, errors


@pytest.mark.parametrize('fault', BAD)
def test_a_request_has_an_outcome_when_a_login_process_fails(
    login: Login, proxy: FaultySqs, hub: Hub, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    for name, value in login.variables.items():
        monkeypatch.setenv(name, value)
    client, noted = client_of(proxy), Noting()
    blocking = Noting()
    watch_requests(client, blocking)
    text, name = BAD[fault]
    login.write(text)
    _, errors = ask(hub, client, noted)
    assert [type(error).__name__ for error in errors] == [name]
    with pytest.raises((RuntimeError, ValueError)):
        client.list_queues()
    assert noted.requests == blocking.requests == [('ListQueues', 'denied')]
    login.write(GOOD)
    answers, _ = ask(hub, client, noted)
    assert answers


def test_what_a_worker_waits_for_at_its_end_may_have_no_credentials(
    scene: Scene,
    login: Login,
    proxy: FaultySqs,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text, error = BAD['rubbish']
    for name, value in login.variables.items():
        monkeypatch.setenv(name, value)
    app = scene.app(f'http://127.0.0.1:{proxy.port}', visibility_timeout=3)
    held: list[kombu.Message] = []
    noted = Noting()
    for _ in range(2):
        app.send_task('work')
    with app.connection_for_read() as connection:
        channel = connection.channel()
        channel.observer = noted
        channel.basic_qos(0, 4, False)
        queue = app.amqp.queues[scene.work]
        with kombu.Consumer(channel, [queue], on_message=held.append):
            turn_until(hub, lambda: len(held) >= 2, 'both are received')
            login.write(text)
            held[0].ack()
        assert error in caplog.text
        wait_until(lambda: (0, 1) in noted.extensions, 'the other cannot be extended')
        info = held[1].delivery_info
        channel.hand_back.release_handles(scene.work, info['sqs_queue'], [held[1].delivery_tag])
        assert 'messages were not handed back' in caplog.text
        before = len(noted.extensions)
        login.write(GOOD)
        wait_until(lambda: any(n for n, _ in noted.extensions[before:]), 'it is extended again')


def test_a_worker_goes_on_when_its_login_process_does(
    tmp_path: Path,
    login: Login,
    sqs: SqsServer,
    proxy: FaultySqs,
    postgres: PostgresServer,
) -> None:
    proxy.fail('*', Gate())
    site = Site(tmp_path, f'http://127.0.0.1:{proxy.port}', postgres.environment)
    app = build(
        site.username, SQS_ENDPOINT_URL=sqs.url, broker_transport=TRANSPORT, **postgres.environment
    )
    variables = {
        'CELERY_BROKER_TRANSPORT': TRANSPORT,
        'CELERY_BROKER_TRANSPORT_OPTIONS': {'wait_time_seconds': 1},
        **login.variables,
    }
    with own_worker(site, **variables) as worker:
        text, error = BAD['expired']
        login.write(text)
        queue = f'{site.username}-local-tests-add'
        away = f'SQS queue {queue} is unavailable, trying until it is back: {error}'
        wait_until(lambda: away in worker.log, 'it has no credentials')
        login.write(GOOD)
        assert app.send_task('tests.add', (1, 2)).get(timeout=30) == 3
