"""A gate holds the receives of a queue back, and those of no other.

The SQS server is real, the event loop is kombu's, and the consumer acknowledges what it gets.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import Config, Queue, Queues
from be_queue.transport import Channel, Transport, delays
from be_queue.transport.gate import Gate
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until

HELD, FREE = 'held', 'free'


class Counting(Gate):
    """Admits as many messages of one queue as it has permits; notes what becomes of them."""

    def __init__(self) -> None:
        self.queue = ''
        self.permits = 0
        self.settled: list[tuple[int, int]] = []
        self.closed = False

    def is_open(self, queue: str) -> bool:
        return queue != self.queue or self.permits > 0

    def admit(self, queue: str, count: int, room: int) -> int:
        if queue != self.queue:
            return count
        assert 1 <= count <= room
        admitted = min(count, self.permits)
        self.permits -= admitted
        return admitted

    def settle(self, queue: str, admitted: int, taken: int, asked_at: float) -> None:
        if queue == self.queue:
            assert asked_at <= time.monotonic()
            self.settled.append((admitted, taken))
            self.permits += admitted - taken

    def close(self) -> None:
        self.closed = True


class Site:
    """Queues, of which a gate holds one back."""

    def __init__(self, scene: Scene, hub: Hub, url: str) -> None:
        self.hub = hub
        self.gate = gate = Counting()
        self.received: Counter[str] = Counter()

        class GatedChannel(Channel):
            pass

        GatedChannel.gate = gate  # type: ignore[assignment]

        class GatedTransport(Transport):
            Channel = GatedChannel

        queues = Queues([Queue(queue_name=name, task=name) for name in (HELD, FREE)])
        queues.build_celery('local', username=scene.prefix, platform_queue_name='')
        self.app = Celery(set_as_current=False)
        self.app.config_from_object(
            Config(
                queues,
                SQS_ENDPOINT_URL=url,
                PLATFORM_QUEUE_NAME='',
                result_backend='cache+memory://',
                broker_transport=GatedTransport,
                broker_transport_options={'wait_time_seconds': 0, 'polling_interval': 0.02},
            )
        )
        self.names = {name: f'{scene.prefix}-local-{name}' for name in (HELD, FREE)}
        gate.queue = self.names[HELD]
        scene.declare(self.app)

    def send(self, name: str, count: int, **options: Any) -> None:
        for _ in range(count):
            self.app.send_task(name, **options)

    @contextmanager
    def consuming(self) -> Iterator[Any]:
        with self.app.connection_for_read() as connection:
            channel = connection.channel()
            channel.basic_qos(0, 4, False)
            queues = [self.app.amqp.queues[name] for name in self.names.values()]
            with kombu.Consumer(channel, queues, on_message=self._on_message):
                yield channel

    def admit(self, channel: Any, permits: int) -> None:
        self.gate.permits = permits
        if channel.receiving is not None:
            channel.receiving.wake()

    def run_until(self, condition: Callable[[], bool], what: str) -> None:
        turn_until(self.hub, condition, what)

    def _on_message(self, message: kombu.Message) -> None:
        self.received[message.headers['task']] += 1
        message.ack()


@pytest.fixture
def site(scene: Scene, hub: Hub) -> Site:
    return Site(scene, hub, scene.sqs.url)


def test_nothing_is_received_from_a_queue_that_is_held_back(site: Site, scene: Scene) -> None:
    site.send(HELD, 5)
    site.send(FREE, 60)
    with site.consuming() as channel:
        site.run_until(lambda: site.received[FREE] == 60, 'the other queue is served')
        assert site.received[HELD] == 0
        assert channel.receiving.pollers[site.names[HELD]].state.value == 'throttled'
    assert scene.sqs.visible(site.names[HELD]) == 5
    assert site.gate.closed


def test_no_more_is_received_than_is_admitted(site: Site, scene: Scene) -> None:
    site.send(HELD, 30)
    with site.consuming() as channel:
        for permits, total in ((1, 1), (3, 4), (17, 21)):
            site.admit(channel, permits)
            site.run_until(lambda total=total: site.received[HELD] == total, f'{total} in all')
            site.run_until(lambda: site.gate.permits == 0, 'all permits are used')
    assert site.received[HELD] == 21
    assert scene.sqs.visible(site.names[HELD]) == 9


def test_what_a_receive_did_not_use_is_told(site: Site) -> None:
    site.send(HELD, 2)
    with site.consuming() as channel:
        site.admit(channel, 8)
        site.run_until(lambda: site.received[HELD] == 2, 'both messages come')
        site.run_until(lambda: site.gate.permits == 6, 'what an empty receive leaves is back')


def test_a_message_for_later_uses_nothing_up(
    scene: Scene, proxy: FaultySqs, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delays, 'MAX_DELAY_SECONDS', 1)
    site = Site(scene, hub, proxy.url)
    site.send(HELD, 3, countdown=100)
    with site.consuming() as channel:
        site.admit(channel, 1)
        site.run_until(lambda: proxy.requests['SendMessageBatch'] >= 4, 'they are sent again')
        assert channel.receiving.pollers[site.names[HELD]].used == 0
    assert site.received[HELD] == 0
    assert not any(taken for _, taken in site.gate.settled)


def test_a_receive_that_fails_uses_nothing_up(scene: Scene, proxy: FaultySqs, hub: Hub) -> None:
    site = Site(scene, hub, proxy.url)
    site.send(HELD, 1)
    proxy.fail('ReceiveMessage', faulty.status(503, 'ServiceUnavailable'))
    with site.consuming() as channel:
        site.admit(channel, 1)
        site.run_until(lambda: (1, 0) in site.gate.settled, 'it is settled')
        proxy.mend()
        site.run_until(lambda: site.received[HELD] == 1, 'the message comes')
