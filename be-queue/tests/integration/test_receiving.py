"""A channel receives messages from a real SQS server and returns them."""

from __future__ import annotations

import uuid

import pytest
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import SqsServer
from be_queue.transport import requests
from be_queue.transport.visibility import CHANGE
from tests.integration.consuming import consuming
from tests.integration.scene import Scene
from tests.integration.sending import first
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until


def test_what_a_receive_in_flight_brings_at_the_end_is_handed_back(scene: Scene, hub: Hub) -> None:
    app = scene.app(wait_time_seconds=20)
    with consuming(app, hub, scene.work) as consumer:
        channel = consumer.channel
        turn_until(
            hub, lambda: channel.receiving and channel.receiving.in_flight, 'a receive waits'
        )
        app.send_task('work')
    assert consumer.noted.releases == [(scene.work, 1)]
    assert (scene.sqs.visible(scene.work), scene.sqs.in_flight(scene.work)) == (1, 0)


@pytest.mark.parametrize(
    'fault',
    [faulty.status(403, 'AccessDeniedException'), faulty.no_answer],
    ids=['denied', 'half-open socket'],
)
def test_after_a_receive_that_fails_another_brings_the_message(
    scene: Scene,
    hub: Hub,
    proxy: FaultySqs,
    monkeypatch: pytest.MonkeyPatch,
    fault: faulty.Fault,
) -> None:
    monkeypatch.setattr(requests, 'ANSWER_TIMEOUT', 0.5)
    app = scene.app(proxy.url)
    app.send_task('work')
    # Without an answer from the first, nothing but its time-out lets the worker go on.
    proxy.fail('ReceiveMessage', first(1, fault))
    with consuming(app, hub, scene.work) as consumer:
        consumer.wait_for(1)
        assert proxy.requests['ReceiveMessage'] > 1
        consumer.acknowledge()
    assert scene.is_empty(scene.work)


A1, A2, B1 = range(3)


@pytest.mark.parametrize(
    ('queue_name', 'max_receives', 'waiting', 'returned'),
    [
        ('work', 10, [A1, B1], [A1, B1]),
        ('work', 2, [A1], [A1]),
        ('work', 1, [A1, A2, B1], []),  # it would be a dead letter
        ('work.fifo', 10, [A1, A2, B1], [A1, A2, B1]),
        ('work.fifo', 10, [A2, B1], [B1]),  # its group's first runs
        ('work.fifo', 10, [A1], []),
    ],
)
def test_what_waits_is_handed_back_as_far_as_order_and_receives_allow(
    sqs: SqsServer,
    hub: Hub,
    queue_name: str,
    max_receives: int,
    waiting: list[int],
    returned: list[int],
) -> None:
    queues = Queues([Queue(queue_name=queue_name, task='work', max_receives=max_receives)])
    queues.build_celery('local', username=f't{uuid.uuid4().hex[:10]}', platform_queue_name='')
    name = queues.topology().work[0]
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(
            queues,
            SQS_ENDPOINT_URL=sqs.url,
            PLATFORM_QUEUE_NAME='',
            result_backend='cache+memory://',
            broker_transport_options={'wait_time_seconds': 1, 'polling_interval': 0.05},
        )
    )
    for group in 'aab':
        app.send_task('work', MessageGroupId=group, MessageDeduplicationId=uuid.uuid4().hex)
    with consuming(app, hub, name, children=3) as consumer:
        channel = consumer.channel
        consumer.wait_for(3)
        # When nothing runs, the worker would receive its own messages again.
        channel.receiving.stop()
        turn_until(hub, lambda: not channel.receiving.in_flight, 'nothing more comes')
        held = [message for _, message in channel.held()]
        order = [message.delivery_tag for message in held]
        tags = channel.hand_back([held[i] for i in waiting])
        assert sorted(map(order.index, tags)) == returned
        assert [tag for tag, _ in channel.held()] == [tag for tag in order if tag not in tags]
        turn_until(hub, lambda: not channel.requests.in_flight[CHANGE], 'they are returned')
        assert (sqs.visible(name), sqs.in_flight(name)) == (len(returned), 3 - len(returned))
        # Until one of what runs is done; at once when nothing runs.
        assert channel.capacity.room(name) == (3 if len(returned) == 3 else 0)
