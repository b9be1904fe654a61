"""Messages whose time has not come are sent again, on a real SQS server.

The event loop is kombu's, and the consumer notes what it gets.
"""

from __future__ import annotations

import base64
import datetime
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from kombu.asynchronous import Hub

from be_queue.transport import delays
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until

#: Seconds. A message that nobody keeps hidden is back before a test ends; a machine that stands
#: still for a second does not bring it back.
VISIBILITY_TIMEOUT = 3
OPTIONS = {
    'polling_interval': 0.05,
    'visibility_timeout': VISIBILITY_TIMEOUT,
    # At most: a machine may stand still.
    'drain_timeout': 10,
}
UNAVAILABLE = faulty.status(503, 'ServiceUnavailable')
HIDES = 'ChangeMessageVisibilityBatch'


class Work:
    """A queue, and what consumes it by way of the proxy."""

    def __init__(self, scene: Scene, proxy: FaultySqs, hub: Hub) -> None:
        self.proxy, self.hub, self.client, self.name = proxy, hub, scene.client, scene.work
        self.app = scene.app(proxy.url, **OPTIONS)
        self.url = scene.make(self.name)
        self.received: list[kombu.Message] = []

    @contextmanager
    def consumed(self) -> Iterator[Any]:
        with self.app.connection_for_read() as connection:
            channel = connection.channel()
            queue = self.app.amqp.queues[self.name]
            with kombu.Consumer(channel, [queue], on_message=self._on_message):
                yield channel

    def _on_message(self, message: kombu.Message) -> None:
        self.received.append(message)
        message.ack()

    def run_until(self, condition: Callable[[], bool], what: str) -> None:
        """Turn the event loop until something holds."""
        turn_until(self.hub, condition, what)

    def run_until_asked(self, operation: str, times: int = 1) -> None:
        """Turn the event loop until SQS is asked so often."""
        self.run_until(lambda: self.proxy.requests[operation] >= times, operation)

    def outlast_the_visibility_timeout(self) -> None:
        """Turn the event loop until a message that was only received would be visible again."""
        until = time.monotonic() + 1.5 * VISIBILITY_TIMEOUT
        self.run_until(lambda: time.monotonic() > until, 'time goes by')

    def send(self, seconds: float, **params: Any) -> str:
        """Send a message for later as kombu's own transport does: without a delay on SQS."""
        now = datetime.datetime.now(datetime.timezone.utc)
        eta = (now + datetime.timedelta(seconds=seconds)).isoformat()
        text = json.dumps(
            {
                'body': '',
                'headers': {'task': 'work', 'id': str(uuid.uuid4()), 'eta': eta},
                'content-type': 'application/json',
                'properties': {'delivery_info': {'exchange': '', 'routing_key': self.name}},
            }
        )
        body = base64.b64encode(text.encode()).decode()
        self.client.send_message(QueueUrl=self.url, MessageBody=body, **params)
        return body

    @property
    def counts(self) -> tuple[int, int, int]:
        """Messages that are visible, in flight, and delayed."""
        names = [f'ApproximateNumberOfMessages{name}' for name in ('', 'NotVisible', 'Delayed')]
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        visible, in_flight, delayed = (int(answer['Attributes'][name]) for name in names)
        return visible, in_flight, delayed


@pytest.fixture
def work(scene: Scene, proxy: FaultySqs, hub: Hub) -> Work:
    return Work(scene, proxy, hub)


def test_each_copy_is_the_message_and_no_attempt_is_used_up(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delays, 'MAX_DELAY_SECONDS', 1)
    attributes: dict[str, dict[str, Any]] = {
        'text': {'DataType': 'String', 'StringValue': 'h\u00e9 \U0001f40d'},
        'number': {'DataType': 'Number.int', 'StringValue': '007'},
        'blob': {'DataType': 'Binary', 'BinaryValue': bytes(range(256))},
    }
    body = work.send(100, MessageAttributes=attributes, MessageGroupId='customer-7')
    with work.consumed():
        work.run_until_asked('SendMessageBatch')
        monkeypatch.setattr(delays, 'MAX_DELAY_SECONDS', 4)  # the second copy comes after the end
        work.run_until_asked('DeleteMessageBatch', times=2)
    (copy,) = work.client.receive_message(
        QueueUrl=work.url,
        WaitTimeSeconds=10,
        MessageAttributeNames=['All'],
        MessageSystemAttributeNames=['All'],
    )['Messages']
    assert copy['Body'] == body
    for name, value in attributes.items():
        assert value.items() <= copy['MessageAttributes'][name].items()
    assert copy['Attributes']['ApproximateReceiveCount'] == '1'
    assert copy['Attributes']['MessageGroupId'] == 'customer-7'


def test_messages_that_are_due_soon_are_handed_over(work: Work) -> None:
    for when in (0, 1.9, -100):
        work.send(when)
    with work.consumed():
        work.run_until(lambda: len(work.received) == 3, 'they arrive')
    assert work.proxy.requests['SendMessageBatch'] == 0


def test_while_sending_fails_it_is_kept_and_tried_again(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    work.proxy.fail('SendMessageBatch', UNAVAILABLE)
    work.send(100)
    with work.consumed():
        work.run_until_asked('SendMessageBatch', times=4)
        assert work.counts == (0, 1, 0)
        work.proxy.repair()
        work.run_until(lambda: work.counts == (0, 0, 1), 'only a delayed copy is left')
    # Once at the beginning and once at the end.
    begin, end = (r.getMessage() for r in caplog.records if r.levelname == 'WARNING')
    for line in (begin, end):
        assert f'sending delayed messages again to SQS queue {work.name} is ' in line


@pytest.mark.parametrize('fault', [faulty.answer_lost, faulty.not_json], ids=lambda f: f.__name__)
def test_without_an_answer_no_second_copy_is_made(work: Work, fault: faulty.Fault) -> None:
    taken = fault is not faulty.not_json
    work.proxy.fail('SendMessageBatch', fault)
    with work.consumed() as channel:
        # Connections to use again: on these curl repeats what is not answered.
        answers: list[Any] = []
        for _ in range(3):
            params = {'QueueUrl': work.url}
            call = channel.requests.call
            call(work.name, 'GetQueueAttributes', params, answers.append, answers.append)
        work.run_until(lambda: len(answers) == 3, 'they are open')
        work.send(100)
        work.run_until_asked(HIDES)
        work.outlast_the_visibility_timeout()
    assert work.proxy.requests['SendMessageBatch'] == 1
    assert work.counts == (0, 1, int(taken))
    assert not work.received


def test_while_deletes_fail_copies_do_not_multiply(work: Work) -> None:
    work.proxy.fail('DeleteMessageBatch', UNAVAILABLE)
    work.send(100)
    with work.consumed():
        work.run_until_asked(HIDES)
        work.outlast_the_visibility_timeout()
    assert work.counts == (0, 1, 1)
    assert work.proxy.requests['SendMessageBatch'] == 1


@pytest.mark.parametrize(
    ('fault', 'requests', 'left'),
    [(faulty.slow(0.5), 1, (0, 0, 1)), (UNAVAILABLE, 2, (1, 0, 0))],
    ids=['a copy on its way is awaited', 'a message that could not be sent is handed back'],
)
def test_at_the_end_of_consuming(
    work: Work, fault: faulty.Fault, requests: int, left: tuple[int, int, int]
) -> None:
    work.proxy.fail('SendMessageBatch', fault)
    work.send(100)
    with work.consumed():
        work.run_until_asked('SendMessageBatch', requests)
    assert work.counts == left
