"""Depths of queues, asked of a real SQS server, and of one that fails on purpose."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from celery import Celery

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.web.depths import DepthPoller
from tests.support.faulty import FaultySqs, Handler, reset, status
from tests.support.metrics import samples

Numbers = tuple[int, int, int, int | None]


class Site:
    """A queue with its dead-letter queue, another queue, and a poller of both."""

    def __init__(self, sqs: SqsServer) -> None:
        self.sqs, self.client = sqs, sqs.client()
        username = f'd{uuid.uuid4().hex[:10]}'
        self.queues = Queues(Queue(queue_name=name, task=name) for name in ('q', 'other'))
        self.queues.build_celery('local', username=username)
        self.name, self.other = f'{username}-local-q', f'{username}-local-other'
        self.dead = f'err-{self.name}'

    def app(self, url: str = '', **options: object) -> Celery:
        app = Celery(set_as_current=False)
        url = url or self.sqs.url
        app.config_from_object(
            Config(self.queues, SQS_ENDPOINT_URL=url, broker_transport_options=options)
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
        url: str = self.client.create_queue(QueueName=name)['QueueUrl']
        return url

    def url(self, name: str) -> str:
        url: str = self.client.get_queue_url(QueueName=name)['QueueUrl']
        return url

    def send(self, name: str) -> None:
        self.client.send_message(QueueUrl=self.url(name), MessageBody='x')


@pytest.fixture
def site(sqs: SqsServer) -> Site:
    site = Site(sqs)
    site.declare(site.name, site.other)
    return site


def numbers(poller: DepthPoller, queue: str) -> Numbers | None:
    """Return the messages that are visible, in flight, delayed and dead letters."""
    found = poller.depth(queue)
    return found and (found.visible, found.in_flight, found.delayed, found.dead_letters)


def polled(poller: DepthPoller, queue: str) -> Numbers | None:
    poller.poll(0)
    return numbers(poller, queue)


def metrics(poller: DepthPoller, queue: str) -> dict[str, float]:
    """Return the metrics of a queue by name, with the state in brackets."""
    found = {}
    for (name, labels), value in samples(poller.collect()).items():
        of = dict(labels)
        if of.pop('queue') == queue:
            found[' '.join((name.removeprefix('p_queue_'), *of.values()))] = value
    return found


def errors(poller: DepthPoller, queue: str) -> float:
    return metrics(poller, queue)['depth_errors_total']


def failing_for(name: str, fault: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Return a fault of requests about one queue; others are passed on."""

    def answer(handler: Handler) -> None:
        asked = json.loads(handler.body)
        if name in (asked.get('QueueUrl', '').rpartition('/')[2], asked.get('QueueName')):
            fault(handler)
        else:
            handler.answer(*handler.forward())

    return answer


@pytest.mark.parametrize(
    ('place', 'expected'), [('nowhere', None), ('in the policy', 1), ('predefined', 1)]
)
def test_dead_letters_are_counted_where_the_transport_sends_them(
    sqs: SqsServer, place: str, expected: int | None
) -> None:
    site, options = Site(sqs), {}
    url = site.create(site.name)
    if place != 'nowhere':
        site.dead = f'another-{site.name}'
        dead_url = site.create(site.dead)
        site.send(site.dead)
    if place == 'in the policy':
        asked = site.client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=['QueueArn'])
        arn = asked['Attributes']['QueueArn']
        policy = json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': 3})
        site.client.set_queue_attributes(QueueUrl=url, Attributes={'RedrivePolicy': policy})
    elif place == 'predefined':
        entry = {'url': url, 'dead_letter_url': dead_url}
        others = {site.other: {'url': site.create(site.other)}}
        options = {'predefined_queues': {site.name: entry} | others}
    poller = site.poller(**options)
    assert polled(poller, site.name) == (0, 0, 0, expected)
    assert errors(poller, site.name) == 0


def test_a_missing_queue_is_not_made_and_hides_no_other(
    sqs: SqsServer, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(sqs)
    site.declare(site.other)
    poller = site.poller()
    for _ in range(3):
        assert polled(poller, site.name) is None
    assert numbers(poller, site.other) == (0, 0, 0, 0)
    assert (errors(poller, site.name), errors(poller, site.other)) == (3, 0)
    assert site.name not in sqs.queue_names()
    assert caplog.text.count(f'queue {site.name} does not exist') == 1

    site.declare(site.name)
    assert polled(poller, site.name) == (0, 0, 0, 0)
    site.client.delete_queue(QueueUrl=site.url(site.name))
    poller.poll(0)
    assert errors(poller, site.name) == 4
    site.declare(site.name)
    site.send(site.name)
    assert polled(poller, site.name) == (1, 0, 0, 0)
    assert caplog.text.count('known again') == 2


@pytest.mark.parametrize(('of', 'expected'), [('name', None), ('dead', (1, 0, 0, None))])
def test_a_right_that_is_missing_is_named(
    site: Site,
    proxy: FaultySqs,
    caplog: pytest.LogCaptureFixture,
    of: str,
    expected: Numbers | None,
) -> None:
    site.send(site.name)
    denied = getattr(site, of)
    fault = status(403, 'AccessDeniedException')
    proxy.fail('GetQueueAttributes', failing_for(denied, fault))
    poller = site.poller(proxy.url)
    assert polled(poller, site.name) == expected
    assert f'allow sqs:GetQueueAttributes on {denied}' in caplog.text
    assert (errors(poller, site.name), errors(poller, site.other)) == (1, 0)


def test_an_outage_leaves_the_last_numbers_which_grow_old(
    site: Site,
    proxy: FaultySqs,
    caplog: pytest.LogCaptureFixture,
) -> None:
    poller = site.poller(proxy.url)
    poller.poll(0)
    before = metrics(poller, site.name)
    site.send(site.name)
    asked = proxy.requests['GetQueueAttributes']
    proxy.fail('*', status(500, 'InternalError'))
    poller.poll(0)
    # The same question twice: each of the other queues would only wait as long.
    assert proxy.requests['GetQueueAttributes'] == asked + 2
    proxy.fail('*', reset)
    poller.poll(0)
    during = metrics(poller, site.name)
    assert during['messages visible'] == before['messages visible'] == 0
    assert during['depth_age_seconds'] > before['depth_age_seconds']
    assert errors(poller, site.name) == errors(poller, site.other) == 2
    assert caplog.text.count('SQS (asked for the depths of queues)') == 1
    proxy.repair()
    wait_until(lambda: polled(poller, site.name) == (1, 0, 0, 0), 'the depth is known again')
    assert errors(poller, site.name) == 2
    assert caplog.text.count('SQS (asked for the depths of queues)') == 2
