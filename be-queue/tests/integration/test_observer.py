"""The observer of a channel sees each message, on a real SQS server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import kombu
import pytest
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import transport
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until
from tests.support.noting import Noting


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


@pytest.mark.parametrize('fault', [None, faulty.status(500, 'Internal')], ids=['works', 'fails'])
def test_extensions(scene: Scene, hub: Hub, proxy: FaultySqs, fault: faulty.Fault | None) -> None:
    send(scene, 2)
    with consuming(scene, hub, proxy.url) as consumer:
        turn_until(hub, lambda: len(consumer.held) == 2, 'both are received')
        if fault:
            proxy.fail('ChangeMessageVisibilityBatch', fault)
        consumer.channel.visibility.extend()
        turn_until(hub, lambda: consumer.noted.extensions, 'they are extended')
        assert consumer.noted.extensions == [(0, 2) if fault else (2, 0)]
        proxy.repair()
        consumer.acknowledge()


@pytest.mark.parametrize('is_acked', [False, True], ids=['held', 'acked'])
def test_only_a_message_that_is_still_held_can_fail_to_be_extended(
    scene: Scene, hub: Hub, proxy: FaultySqs, is_acked: bool
) -> None:
    send(scene, 1)
    may_answer = threading.Event()

    def expired(handler: faulty.Handler) -> None:
        may_answer.wait()
        entries = [entry['Id'] for entry in json.loads(handler.body)['Entries']]
        failed = [
            {'Id': each, 'Code': 'ReceiptHandleIsInvalid', 'SenderFault': True} for each in entries
        ]
        handler.answer(200, json.dumps({'Successful': [], 'Failed': failed}).encode())

    proxy.fail('ChangeMessageVisibilityBatch', expired)
    try:
        with consuming(scene, hub, proxy.url, visibility_timeout=6) as consumer:
            turn_until(hub, lambda: consumer.held, 'it is received')
            asked = proxy.requests
            turn_until(hub, lambda: asked['ChangeMessageVisibilityBatch'], 'an extension is asked')
            if is_acked:
                consumer.acknowledge()
                turn_until(hub, lambda: consumer.noted.deletes, 'it is deleted')
            may_answer.set()
            turn_until(hub, lambda: consumer.noted.extensions, 'the extension is answered')
            first = consumer.noted.extensions[0]
            consumer.acknowledge()
    finally:
        may_answer.set()
    assert first == ((0, 0) if is_acked else (0, 1))


def waits(consumer: Consumer) -> bool:
    receiving = consumer.channel.receiving
    return receiving is not None and receiving.in_flight > 0


def test_what_is_handed_back_at_the_end(scene: Scene, hub: Hub) -> None:
    with consuming(scene, hub, wait_time_seconds=20) as consumer:
        turn_until(hub, lambda: waits(consumer), 'a receive waits')
        send(scene, 1)
    assert consumer.noted.releases == [(scene.work, 1)]
    assert scene.sqs.in_flight(scene.work) == 0
