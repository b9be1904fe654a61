"""Depths of queues, asked of a real SQS server, and of one that fails on purpose."""

from __future__ import annotations

import json
import uuid

import pytest
from celery import Celery

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.web.depths import DepthPoller
from tests.support.faulty import FaultySqs, Handler, reset, status

Numbers = tuple[int, int, int, int | None]
SQS_OUTAGE = 'SQS (asked for the depths of queues)'


class Scene:
    """The names of two queues, of which the first has a dead-letter queue once it is declared."""

    def __init__(self, sqs: SqsServer) -> None:
        self._url, self.client = sqs.url, sqs.client()
        username = f'd{uuid.uuid4().hex[:10]}'
        self._queues = Queues(Queue(queue_name=name, task=name) for name in ('q', 'other'))
        self._queues.build_celery('local', username=username)
        self.name, self.other = f'{username}-local-q', f'{username}-local-other'
        self.dead = f'err-{self.name}'

    def app(self, url: str = '', **options: object) -> Celery:
        app = Celery(set_as_current=False)
        url = url or self._url
        app.config_from_object(
            Config(self._queues, SQS_ENDPOINT_URL=url, broker_transport_options=options)
        )
        return app

    def poller(self, url: str = '', **options: object) -> DepthPoller:
        return DepthPoller(self.app(url, **options), 'p', [self.name, self.other])

    def declare(self, *names: str) -> None:
        app = self.app()
        with app.connection_for_write() as connection, connection.channel() as channel:
            for name in names:
                app.amqp.queues[name](channel).declare()

    def create(self, name: str) -> str:
        """Create a queue without its dead-letter queue, or find one; return its URL."""
        return str(self.client.create_queue(QueueName=name)['QueueUrl'])

    def send(self, name: str) -> None:
        url = self.client.get_queue_url(QueueName=name)['QueueUrl']
        self.client.send_message(QueueUrl=url, MessageBody='x')


@pytest.fixture
def scene(sqs: SqsServer) -> Scene:
    return Scene(sqs)


def polled(poller: DepthPoller, queue: str) -> Numbers | None:
    """Return the messages that are visible, in flight, delayed and dead letters."""
    poller.poll(0)
    found = poller.depth(queue)
    return found and (found.visible, found.in_flight, found.delayed, found.dead_letters)


def metric(poller: DepthPoller, name: str, *label_values: str) -> float:
    """Return the value of a metric, by its name after ``p_queue_`` and its labels' values."""
    samples = [sample for family in poller.collect() for sample in family.samples]
    (value,) = (
        sample.value
        for sample in samples
        if (sample.name, *sample.labels.values()) == (f'p_queue_{name}', *label_values)
    )
    return value


def errors(poller: DepthPoller, *queues: str) -> list[float]:
    return [metric(poller, 'depth_errors_total', queue) for queue in queues]


@pytest.mark.parametrize(
    ('place', 'expected'), [('nowhere', None), ('in the policy', 1), ('predefined', 1)]
)
def test_dead_letters_are_counted_where_the_transport_sends_them(
    scene: Scene, place: str, expected: int | None
) -> None:
    url, options = scene.create(scene.name), {}
    if place != 'nowhere':
        dead_url = scene.create(f'another-{scene.name}')
        scene.send(f'another-{scene.name}')
    if place == 'in the policy':
        asked = scene.client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=['QueueArn'])
        arn = asked['Attributes']['QueueArn']
        policy = json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': 3})
        scene.client.set_queue_attributes(QueueUrl=url, Attributes={'RedrivePolicy': policy})
    elif place == 'predefined':
        entry = {'url': url, 'dead_letter_url': dead_url}
        others = {scene.other: {'url': scene.create(scene.other)}}
        options = {'predefined_queues': {scene.name: entry} | others}
    poller = scene.poller(**options)
    assert polled(poller, scene.name) == (0, 0, 0, expected)
    assert errors(poller, scene.name) == [0]


def test_a_missing_queue_is_not_made_and_hides_no_other(
    scene: Scene, sqs: SqsServer, caplog: pytest.LogCaptureFixture
) -> None:
    name, other = scene.name, scene.other
    scene.declare(other)
    poller = scene.poller()
    for _ in range(3):
        assert polled(poller, name) is None
    assert polled(poller, other) == (0, 0, 0, 0)
    assert errors(poller, name, other) == [4, 0]
    assert name not in sqs.queue_names()
    assert caplog.text.count(f'the depth of queue {name} is unavailable') == 1

    scene.declare(name)
    assert polled(poller, name) == (0, 0, 0, 0)
    scene.client.delete_queue(QueueUrl=scene.create(name))
    poller.poll(0)
    assert errors(poller, name) == [5]
    scene.declare(name)
    scene.send(name)
    assert polled(poller, name) == (1, 0, 0, 0)
    assert caplog.text.count(f'the depth of queue {name} is back') == 2


@pytest.mark.parametrize(('of', 'expected'), [('name', None), ('dead', (1, 0, 0, None))])
def test_a_right_that_is_missing_is_named(
    scene: Scene,
    proxy: FaultySqs,
    caplog: pytest.LogCaptureFixture,
    of: str,
    expected: Numbers | None,
) -> None:
    scene.declare(scene.name, scene.other)
    scene.send(scene.name)
    denied = getattr(scene, of)

    def deny(handler: Handler) -> None:
        if json.loads(handler.body)['QueueUrl'].endswith(f'/{denied}'):
            status(403, 'AccessDeniedException')(handler)
        else:
            handler.answer(*handler.forward())

    proxy.fail('GetQueueAttributes', deny)
    poller = scene.poller(proxy.url)
    assert polled(poller, scene.name) == expected
    assert 'calling the GetQueueAttributes operation' in caplog.text
    assert f'check that {scene.name} and err-{scene.name} exist' in caplog.text
    assert errors(poller, scene.name, scene.other) == [1, 0]


def test_an_outage_leaves_the_last_numbers_which_grow_old(
    scene: Scene, proxy: FaultySqs, caplog: pytest.LogCaptureFixture
) -> None:
    name = scene.name
    scene.declare(name, scene.other)
    poller = scene.poller(proxy.url)
    assert polled(poller, name) == (0, 0, 0, 0)
    age = metric(poller, 'depth_age_seconds', name)
    scene.send(name)
    asked = proxy.requests['GetQueueAttributes']
    proxy.fail('*', status(500, 'InternalError'))
    poller.poll(0)
    # The same question twice: each of the other queues would only wait as long.
    assert proxy.requests['GetQueueAttributes'] == asked + 2
    proxy.fail('*', reset)
    poller.poll(0)
    assert metric(poller, 'messages', name, 'visible') == 0
    assert metric(poller, 'depth_age_seconds', name) > age
    assert errors(poller, name, scene.other) == [2, 2]
    assert caplog.text.count(SQS_OUTAGE) == 1
    proxy.repair()
    wait_until(lambda: polled(poller, name) == (1, 0, 0, 0), 'the depth is known again')
    assert errors(poller, name) == [2]
    assert caplog.text.count(SQS_OUTAGE) == 2
