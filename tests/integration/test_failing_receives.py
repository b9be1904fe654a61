"""A queue that cannot be received from, beside one that can."""

from __future__ import annotations

import json
from collections import Counter

import kombu
import pytest
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import Config, Queue, Queues
from be_queue.transport.receiving.dispatching import Receiving
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until


def make_app(scene: Scene, url: str) -> Celery:
    queues = Queues([Queue(queue_name=name, task=name) for name in ('failing', 'working')])
    queues.build_celery('local', username=scene.prefix, platform_queue_name='')
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(
            queues,
            SQS_ENDPOINT_URL=url,
            PLATFORM_QUEUE_NAME='',
            result_backend='cache+memory://',
            broker_transport='be_queue.transport:Transport',
            broker_transport_options={'wait_time_seconds': 0, 'polling_interval': 0.02},
        )
    )
    scene.declare(app)
    return app


def test_time_in_which_its_receives_fail_is_not_saved_up(
    scene: Scene, proxy: FaultySqs, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Messages are counted, however long the machine takes for one.
    monkeypatch.setattr(Receiving, 'price', lambda self, queue: 1.0)
    app = make_app(scene, proxy.url)
    failing, working = (f'{scene.prefix}-local-{name}' for name in ('failing', 'working'))

    def fail_one(handler: faulty.Handler) -> None:
        if json.loads(handler.body)['QueueUrl'].endswith(failing):
            faulty.status(403, 'AccessDenied')(handler)
        else:
            handler.answer(*handler.forward())

    received: Counter[str] = Counter()

    def take(message: kombu.Message) -> None:
        received[message.headers['task']] += 1
        message.ack()

    for _ in range(200):
        app.send_task('failing')
    with app.connection_for_read() as connection:
        channel = connection.channel()
        channel.basic_qos(0, 4, False)
        queues = [app.amqp.queues[name] for name in (failing, working)]
        with kombu.Consumer(channel, queues, on_message=take):
            turn_until(hub, lambda: received['failing'] >= 3, 'it is served')
            pollers = channel.receiving.pollers
            proxy.fail('ReceiveMessage', fail_one)
            turn_until(
                hub, lambda: pollers[failing].state.value == 'backing off', 'its receives fail'
            )
            turn_until(hub, lambda: not pollers[failing].in_flight, 'none of them is left')
            before = received['failing']
            for _ in range(300):
                app.send_task('working')
            turn_until(
                hub,
                lambda: pollers[working].used >= pollers[failing].used + 100,
                'the other is served alone',
            )
            level = pollers[working].used
            proxy.mend()
            turn_until(hub, lambda: received['failing'] > before, 'it is served again')
            assert pollers[failing].used > level
