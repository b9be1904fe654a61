"""Requests to SQS: how the observer sees them end, and many in flight at a time."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from kombu.asynchronous import Hub

from be_queue.testing.sqs import client_of
from be_queue.transport import requests
from be_queue.transport.observer import Observer, watch_requests
from be_queue.transport.requests import MAX_REQUESTS
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import requests_in_loop, turn_until
from tests.support.noting import Noting

#: Seconds that SQS may take for a receive: longer than the test waits for anything.
LONG = 600
STATUSES = [
    (faulty.status(400, 'RequestThrottled'), 'throttled'),
    (faulty.status(403, 'AccessDenied'), 'denied'),
    (faulty.status(403, 'InvalidClientTokenId'), 'denied'),
    (faulty.status(400, 'QueueDoesNotExist'), 'client error'),
    (faulty.status(503, 'ServiceUnavailable'), 'server error'),
    (faulty.reset, 'unreachable'),
    (faulty.no_answer, 'timeout'),
    (None, 'ok'),
]
IDS = [f'{number}-{status}' for number, (_, status) in enumerate(STATUSES)]


def patient(port: int, attempts: int = 1, read_timeout: float = 30) -> Any:
    retries = {'mode': 'standard', 'total_max_attempts': attempts}
    return client_of(port, Config(read_timeout=read_timeout, retries=retries))


@pytest.mark.parametrize(('fault', 'status'), STATUSES, ids=IDS)
def test_how_a_request_ended(
    proxy: FaultySqs,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    fault: faulty.Fault | None,
    status: str,
) -> None:
    timeout = 0.5 if fault is faulty.no_answer else 30
    monkeypatch.setattr(requests, 'ANSWER_TIMEOUT', timeout)
    if fault:
        proxy.fail('*', fault)
    blocking, from_the_loop = Noting(), Noting()
    client = patient(proxy.port, read_timeout=timeout)
    watch_requests(client, blocking)
    try:
        client.list_queues()
    except (ClientError, BotoCoreError):
        assert status != 'ok'
    sqs = requests_in_loop(hub, client, from_the_loop)
    sqs.call('', 'ListQueues', {}, lambda _: None, lambda _: None)
    turn_until(hub, lambda: from_the_loop.requests, 'the request has ended')
    assert blocking.requests == from_the_loop.requests == [('ListQueues', status)]


def test_an_answer_that_is_no_answer_is_the_servers_error(proxy: FaultySqs, hub: Hub) -> None:
    proxy.fail('*', faulty.not_json)
    noted = Noting()
    sqs = requests_in_loop(hub, patient(proxy.port), noted)
    sqs.call('', 'ListQueues', {}, lambda _: None, lambda _: None)
    turn_until(hub, lambda: noted.requests, 'the request has ended')
    assert noted.requests == [('ListQueues', 'server error')]


def test_a_request_that_cannot_be_signed_is_denied(hub: Hub, proxy: FaultySqs) -> None:
    client = patient(proxy.port)
    client._request_signer._credentials = None  # as where none are found
    blocking, from_the_loop = Noting(), Noting()
    watch_requests(client, blocking)
    with pytest.raises(NoCredentialsError):
        client.list_queues()
    errors: list[Exception] = []
    requests_in_loop(hub, client, from_the_loop).call(
        '', 'ReceiveMessage', {}, lambda _: None, errors.append
    )
    assert [type(error) for error in errors] == [NoCredentialsError]
    assert blocking.requests == [('ListQueues', 'denied')]
    assert from_the_loop.requests == [('ReceiveMessage', 'denied')]
    assert blocking.seconds == from_the_loop.seconds == [0]
    assert not proxy.requests


def test_requests_that_botocore_sends_again_are_counted_each(proxy: FaultySqs) -> None:
    proxy.fail('*', faulty.status(503, 'ServiceUnavailable'))
    noted = Noting()
    client = patient(proxy.port, attempts=2)
    watch_requests(client, noted)
    with pytest.raises(ClientError):
        client.list_queues()
    assert noted.requests == 2 * [('ListQueues', 'server error')]


def test_long_polls_of_many_queues_keep_no_delete_waiting(
    scene: Scene, proxy: FaultySqs, hub: Hub
) -> None:
    app = scene.app(proxy.url)
    scene.declare(app)
    url = scene.url(scene.work)
    ended: list[Any] = []
    deleted: list[Any] = []
    with app.connection_for_read() as connection:
        requests = requests_in_loop(
            hub, connection.default_channel.blocking_sqs(scene.work), Observer()
        )
        proxy.fail('ReceiveMessage', faulty.no_answer)
        for _ in range(MAX_REQUESTS + 1):
            requests.call('', 'ReceiveMessage', {'QueueUrl': url}, ended.append, ended.append, LONG)
        turn_until(
            hub, lambda: proxy.requests['ReceiveMessage'] >= MAX_REQUESTS, 'they wait on SQS'
        )
        entries = [{'Id': '0', 'ReceiptHandle': 'unknown'}]
        requests.call(
            '',
            'DeleteMessageBatch',
            {'QueueUrl': url, 'Entries': entries},
            deleted.append,
            deleted.append,
        )
        turn_until(hub, lambda: deleted, 'the delete is answered')
        turn_until(
            hub, lambda: proxy.requests['ReceiveMessage'] > MAX_REQUESTS, 'no queue is left out'
        )
        assert not ended
