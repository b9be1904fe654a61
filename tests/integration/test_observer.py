"""What the observer of a channel is told, on a real SQS server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
import kombu
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import transport
from be_queue.transport.clients import requests
from be_queue.transport.clients.requests import AsyncSqs
from be_queue.transport.clients.watching import watch
from be_queue.transport.observer import Observer
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until
from tests.support.ports import free_port
from tests.support.sqs import REGION


class Noting(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.seconds: list[float] = []
        self.receives: list[int | None] = []
        self.deletes: list[tuple[int, list[float]]] = []
        self.extensions: list[tuple[int, int]] = []
        self.releases: list[tuple[str, int]] = []

    def requested(self, operation: str, status: str, seconds: float) -> None:
        self.requests.append((operation, status))
        self.seconds.append(seconds)

    def received(self, queue: str, count: int) -> None:
        self.receives.append(count)

    def receive_failed(self, queue: str) -> None:
        self.receives.append(None)

    def deleted(self, queue: str, asked: int, delays: Any) -> None:
        self.deletes.append((asked, delays))

    def extended(self, queue: str, count: int, failed: int) -> None:
        self.extensions.append((count, failed))

    def released(self, queue: str, count: int) -> None:
        self.releases.append((queue, count))


class Channel(transport.Channel):
    @cached_property
    def observer(self) -> Noting:
        return Noting()


class Transport(transport.Transport):
    Channel = Channel


class Consumer:
    """Takes messages, and leaves them to the test."""

    def __init__(self, app: Celery, channel: Any, hub: Hub) -> None:
        self.held: list[kombu.Message] = []
        self.hub = hub
        self.channel = channel
        self.noted: Noting = channel.observer

    def acknowledge(self) -> None:
        for message in self.held:
            message.ack()
        self.held.clear()


@contextmanager
def consuming(scene: Scene, hub: Hub, url: str = '', **options: Any) -> Iterator[Consumer]:
    app = scene.app(url, **options)
    app.conf.broker_transport = f'{__name__}:Transport'
    connection = app.connection_for_read()
    channel = connection.channel()
    channel.basic_qos(0, 20, False)
    consumer = Consumer(app, channel, hub)
    queue = app.amqp.queues[scene.work]
    with kombu.Consumer(channel, [queue], on_message=consumer.held.append):
        connection.transport.register_with_event_loop(connection.connection, hub)
        yield consumer
    connection.close()


def send(scene: Scene, count: int) -> None:
    app = scene.app()
    for number in range(count):
        app.send_task('work', (number,))


def test_receives_and_deletes(scene: Scene, hub: Hub) -> None:
    send(scene, 12)
    with consuming(scene, hub) as consumer:
        noted = consumer.noted
        turn_until(hub, lambda: len(consumer.held) == 12, 'all are received')
        turn_until(hub, lambda: noted.receives[-1] == 0, 'none is left')
        assert sum(noted.receives) == 12
        consumer.acknowledge()
        turn_until(hub, lambda: sum(n for n, _ in noted.deletes) == 12, 'all are deleted')
        delays = [delay for _, of_batch in noted.deletes for delay in of_batch]
        assert len(delays) == 12
        assert min(delays) > 0
        assert max(n for n, _ in noted.deletes) == 10
        statuses = {status for name, status in noted.requests if name != 'GetQueueUrl'}
        assert statuses == {'ok'}
        operations = [name for name, _ in noted.requests]
        assert operations.count('ReceiveMessage') == len(noted.receives)
        assert operations.count('DeleteMessageBatch') == len(noted.deletes)
        assert min(noted.seconds) > 0


def test_each_message_says_when_it_could_run(scene: Scene, hub: Hub) -> None:
    send(scene, 1)
    scene.app().send_task('work', countdown=1)  # which a worker holds: it is due so soon
    with consuming(scene, hub) as consumer:
        turn_until(hub, lambda: len(consumer.held) == 2, 'both are received')
        infos = [message.properties['delivery_info'] for message in consumer.held]
        due = sorted(info['due_at'] for info in infos)
        sent = sorted(
            int(info['sqs_message']['Attributes']['SentTimestamp']) / 1000 for info in infos
        )
        assert due[0] == sent[0]
        assert due[1] > sent[1]
        consumer.acknowledge()


def test_a_poller_knows_its_oldest_message_until_there_is_none(scene: Scene, hub: Hub) -> None:
    send(scene, 3)
    with consuming(scene, hub, wait_time_seconds=1) as consumer:
        turn_until(hub, lambda: len(consumer.held) == 3, 'all are received')
        poller = consumer.channel.receiving.pollers[scene.work]
        turn_until(hub, lambda: poller.oldest_due is None, 'none is left')
        consumer.acknowledge()
        hub.call_later(0, send, scene, 1)
        turn_until(hub, lambda: poller.oldest_due is not None, 'there is another')


@pytest.mark.parametrize('fault', [None, faulty.status(500, 'Internal')], ids=['works', 'fails'])
def test_extensions(scene: Scene, hub: Hub, proxy: FaultySqs, fault: faulty.Fault | None) -> None:
    send(scene, 2)
    with consuming(scene, hub, proxy.url, visibility_timeout=3) as consumer:
        turn_until(hub, lambda: len(consumer.held) >= 2, 'both are received')
        if fault:
            proxy.fail('ChangeMessageVisibilityBatch', fault)
        expected = (0, 2) if fault else (2, 0)
        turn_until(hub, lambda: expected in consumer.noted.extensions, 'they are extended')
        proxy.mend()
        consumer.acknowledge()


def waits(consumer: Consumer) -> bool:
    receiving = consumer.channel.receiving
    return receiving is not None and receiving.in_flight > 0


def test_what_is_handed_back_at_the_end(scene: Scene, hub: Hub) -> None:
    with consuming(scene, hub, wait_time_seconds=1) as consumer:
        turn_until(hub, lambda: waits(consumer), 'a receive waits')
        send(scene, 1)
    assert consumer.noted.releases == [(scene.work, 1)]
    assert scene.sqs.in_flight(scene.work) == 0


STATUSES = [
    (faulty.status(400, 'RequestThrottled'), 'throttled'),
    (faulty.status(429, 'Whatever'), 'throttled'),
    (faulty.status(403, 'AccessDenied'), 'denied'),
    (faulty.status(400, 'AccessDeniedException'), 'denied'),
    (faulty.status(403, 'InvalidClientTokenId'), 'denied'),
    (faulty.status(400, 'QueueDoesNotExist'), 'client error'),
    (faulty.status(503, 'ServiceUnavailable'), 'server error'),
    (faulty.reset, 'unreachable'),
    (faulty.no_answer, 'timeout'),
    (None, 'ok'),
]
IDS = [f'{number}-{status}' for number, (_, status) in enumerate(STATUSES)]


def client_of(port: int, attempts: int = 1, read_timeout: float = 30) -> Any:
    return boto3.client(
        'sqs',
        endpoint_url=f'http://127.0.0.1:{port}',
        region_name=REGION,
        aws_access_key_id='test',
        aws_secret_access_key='test',
        config=Config(
            read_timeout=read_timeout,
            retries={'mode': 'standard', 'total_max_attempts': attempts},
        ),
    )


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
    client = client_of(proxy.port, read_timeout=timeout)
    watch(client, blocking)
    try:
        client.list_queues()
    except (ClientError, BotoCoreError):
        assert status != 'ok'
    sqs = AsyncSqs(hub, lambda: client, from_the_loop)
    sqs.call('ListQueues', {}, lambda _: None, lambda _: None)
    turn_until(hub, lambda: from_the_loop.requests, 'the request has ended')
    assert blocking.requests == from_the_loop.requests == [('ListQueues', status)]


def test_a_server_that_is_not_there_is_unreachable(hub: Hub) -> None:
    blocking, from_the_loop = Noting(), Noting()
    client = client_of(free_port())
    watch(client, blocking)
    with pytest.raises(BotoCoreError):
        client.list_queues()
    AsyncSqs(hub, lambda: client, from_the_loop).call(
        'ListQueues', {}, lambda _: None, lambda _: None
    )
    turn_until(hub, lambda: from_the_loop.requests, 'the request has ended')
    assert blocking.requests == from_the_loop.requests == [('ListQueues', 'unreachable')]


def test_an_answer_that_is_no_answer_is_the_servers_error(proxy: FaultySqs, hub: Hub) -> None:
    proxy.fail('*', faulty.not_json)
    noted = Noting()
    sqs = AsyncSqs(hub, lambda: client_of(proxy.port), noted)
    sqs.call('ListQueues', {}, lambda _: None, lambda _: None)
    turn_until(hub, lambda: noted.requests, 'the request has ended')
    assert noted.requests == [('ListQueues', 'server error')]


def test_requests_that_botocore_sends_again_are_counted_each(proxy: FaultySqs) -> None:
    proxy.fail('*', faulty.status(503, 'ServiceUnavailable'))
    noted = Noting()
    client = client_of(proxy.port, attempts=2)
    watch(client, noted)
    with pytest.raises(ClientError):
        client.list_queues()
    assert noted.requests == 2 * [('ListQueues', 'server error')]
