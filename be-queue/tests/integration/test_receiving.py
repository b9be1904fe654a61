"""A channel receives from a real SQS server as its children take the work.

The event loop is kombu's; a child is a timer.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import SqsServer
from be_queue.transport.visibility import CHANGE


class Worker:
    """Children that run each message for its queue's time, then acknowledge it."""

    def __init__(self, app: Celery, hub: Hub, children: int, run_times: dict[str, float]) -> None:
        self.hub = hub
        self.done: list[str] = []
        self.most_held: Counter[str] = Counter()
        self._children = children
        self._run_times = run_times
        self._held: Counter[str] = Counter()
        self._waiting: deque[kombu.Message] = deque()
        self._running = 0
        self.connection = app.connection_for_read()
        self.channel = self.connection.channel()
        self.channel.basic_qos(0, children, False)
        names = [app.conf.QUEUES.sqs_name(queue) for queue in app.conf.QUEUES]
        queues = [app.amqp.queues[name] for name in names]
        self.consumer = kombu.Consumer(self.channel, queues, on_message=self._on_message)
        self.connection.transport.register_with_event_loop(self.connection.connection, hub)

    def run_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f'only {len(self.done)} done'
            self.hub.run_once()

    @property
    def polls(self) -> bool:
        """Whether a receive is in flight."""
        receiving = self.channel.receiving
        return receiving is not None and receiving.in_flight > 0

    def _on_message(self, message: kombu.Message) -> None:
        name = self._task(message)
        self._held[name] += 1
        self.most_held[name] = max(self.most_held[name], self._held[name])
        self._waiting.append(message)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and self._running < self._children:
            message = self._waiting.popleft()
            self._running += 1
            run_time = self._run_times[self._task(message)]
            self.hub.call_later(run_time, self._ended, message)

    def _ended(self, message: kombu.Message) -> None:
        self._running -= 1
        self._held[self._task(message)] -= 1
        self.done.append(self._task(message))
        message.ack()
        self._fill()

    def _task(self, message: kombu.Message) -> str:
        name: str = message.headers['task']
        return name


def make_app(sqs: SqsServer, *queues: Queue, **options: Any) -> Celery:
    mapping = Queues(queues)
    mapping.build_celery('local', username=f't{uuid.uuid4().hex[:10]}', platform_queue_name='')
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(
            mapping,
            SQS_ENDPOINT_URL=sqs.url,
            PLATFORM_QUEUE_NAME='',
            result_backend='cache+memory://',
            broker_transport='be_queue.transport:Transport',
            broker_transport_options={'wait_time_seconds': 1, 'polling_interval': 0.05, **options},
        )
    )
    return app


@contextmanager
def working(app: Celery, hub: Hub, children: int, run_times: dict[str, float]) -> Iterator[Worker]:
    worker = Worker(app, hub, children, run_times)
    with worker.consumer:
        yield worker
    worker.connection.close()


def test_what_a_receive_in_flight_brings_at_the_end_is_handed_back(
    sqs: SqsServer, hub: Hub
) -> None:
    app = make_app(sqs, Queue(queue_name='work', task='work'))
    name = app.conf.QUEUES.topology().work[0]
    with working(app, hub, 2, {'work': 0.01}) as worker:
        worker.run_until(lambda: worker.polls)
        app.send_task('work')
    assert sqs.in_flight(name) == 0
    assert sqs.visible(name) + len(worker.done) == 1


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
        ('work.fifo', 1, [A1, A2, B1], []),
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
    app = make_app(sqs, Queue(queue_name=queue_name, task='work', max_receives=max_receives))
    name = app.conf.QUEUES.topology().work[0]
    for group in 'aab':
        app.send_task('work', MessageGroupId=group, MessageDeduplicationId=uuid.uuid4().hex)
    with working(app, hub, 3, {'work': 60}) as worker:
        worker.run_until(lambda: worker.most_held['work'] == 3)
        channel = worker.channel
        # When nothing runs, the worker would receive its own messages again.
        channel.receiving.stop()
        worker.run_until(lambda: not channel.receiving.in_flight)
        held = [message for _, message in channel.held()]
        order = [message.delivery_tag for message in held]
        tags = channel.hand_back([held[i] for i in waiting])
        assert sorted(map(order.index, tags)) == returned
        assert [tag for tag, _ in channel.held()] == [tag for tag in order if tag not in tags]
        worker.run_until(lambda: not channel.requests.in_flight[CHANGE])
        assert sqs.visible(name) == len(returned)
        assert sqs.in_flight(name) == 3 - len(returned)
        # Until one of what runs is done; at once when nothing runs.
        assert channel.capacity.room(name) == (3 if len(returned) == 3 else 0)
