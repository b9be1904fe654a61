"""Requests to SQS: how the observer sees them end, and many in flight at a time."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import NoCredentialsError
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


def client(port: int, attempts: int = 1, read_timeout: float = 30) -> Any:
    retries = {'mode': 'standard', 'total_max_attempts': attempts}
    return client_of(port, Config(read_timeout=read_timeout, retries=retries))


def list_queues(hub: Hub, boto: Any, noted: Noting) -> list[Any]:
    """Ask from the event loop; return the answer or the error."""
    ended: list[Any] = []
    requests_in_loop(hub, boto, noted).call('', 'ListQueues', {}, ended.append, ended.append)
    turn_until(hub, lambda: ended, 'the request has ended')
    return ended


@pytest.mark.parametrize(
    ('fault', 'status'),
    [
        (faulty.status(400, 'RequestThrottled'), 'throttled'),
        (faulty.status(403, 'InvalidClientTokenId'), 'denied'),
        (faulty.status(400, 'QueueDoesNotExist'), 'client error'),
        (faulty.status(503, 'ServiceUnavailable'), 'server error'),
        (faulty.reset, 'unreachable'),
        (faulty.no_answer, 'timeout'),
        (None, 'ok'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
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
    blocking, noted = Noting(), Noting()
    boto = client(proxy.port, read_timeout=timeout)
    watch_requests(boto, blocking)
    try:
        outcome: Any = boto.list_queues()
    except Exception as error:  # noqa: BLE001
        outcome = error
    (ended,) = list_queues(hub, boto, noted)
    assert isinstance(outcome, type(ended))
    assert blocking.requests == noted.requests == [('ListQueues', status)]


def test_an_answer_that_is_no_answer_is_the_servers_error(proxy: FaultySqs, hub: Hub) -> None:
    proxy.fail('*', faulty.not_json)
    noted = Noting()
    assert 'Please log in' in str(list_queues(hub, client(proxy.port), noted))
    assert noted.requests == [('ListQueues', 'server error')]


def test_a_request_that_cannot_be_signed_is_denied(hub: Hub, proxy: FaultySqs) -> None:
    boto = client(proxy.port)
    boto._request_signer._credentials = None  # as where none are found
    blocking, noted = Noting(), Noting()
    watch_requests(boto, blocking)
    with pytest.raises(NoCredentialsError):
        boto.list_queues()
    assert [type(error) for error in list_queues(hub, boto, noted)] == [NoCredentialsError]
    assert blocking.requests == noted.requests == [('ListQueues', 'denied')]
    assert blocking.seconds == noted.seconds == [0]
    assert not proxy.requests


def test_requests_that_botocore_sends_again_are_counted_each(proxy: FaultySqs) -> None:
    proxy.fail('*', faulty.status(503, 'ServiceUnavailable'))
    noted = Noting()
    boto = client(proxy.port, attempts=2)
    watch_requests(boto, noted)
    with pytest.raises(Exception, match='ServiceUnavailable'):
        boto.list_queues()
    assert noted.requests == 2 * [('ListQueues', 'server error')]


def test_long_polls_of_many_queues_keep_no_delete_waiting(
    scene: Scene, proxy: FaultySqs, hub: Hub
) -> None:
    url = scene.make(scene.work)
    ended: list[Any] = []
    deleted: list[Any] = []
    proxy.fail('ReceiveMessage', faulty.no_answer)
    asked = proxy.requests
    sqs = requests_in_loop(hub, client(proxy.port), Observer())
    for _ in range(MAX_REQUESTS + 1):
        sqs.call('', 'ReceiveMessage', {'QueueUrl': url}, ended.append, ended.append, LONG)
    turn_until(hub, lambda: asked['ReceiveMessage'] >= MAX_REQUESTS, 'they wait on SQS')
    params = {'QueueUrl': url, 'Entries': [{'Id': '0', 'ReceiptHandle': 'unknown'}]}
    sqs.call('', 'DeleteMessageBatch', params, deleted.append, deleted.append)
    turn_until(hub, lambda: deleted, 'the delete is answered')
    turn_until(hub, lambda: asked['ReceiveMessage'] > MAX_REQUESTS, 'no queue is left out')
    assert not ended
