"""Depths of queues, asked of a real SQS server, and of one that fails on purpose."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from celery import Celery
from kombu import Connection

from app.web.depths import Asker, Depth, DepthPoller, asking
from app.web.depths.asking import QueueError
from be_queue import Config, Queue, Queues
from tests.support.faulty import FaultySqs, Handler, no_answer, status
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until

PREDEFINED = 'predefined_queues'


class Site:
    """A queue with its dead-letter queue, and an app that leads there."""

    def __init__(self, sqs: SqsServer) -> None:
        self.client = sqs.client()
        username = f'd{uuid.uuid4().hex[:10]}'
        self.queues = Queues([Queue(queue_name='q', task='t')])
        self.queues.build_celery('local', username=username)
        self.name = f'{username}-local-q'
        self.dead = f'err-{self.name}'

    def app(self, url: str, **options: object) -> Celery:
        app = Celery(set_as_current=False)
        config = Config(self.queues, SQS_ENDPOINT_URL=url, broker_transport_options=options)
        app.config_from_object(config)
        return app

    def declare(self, url: str) -> None:
        with self.app(url).connection_for_write() as connection, connection.channel() as channel:
            queue = self.app(url).amqp.queues[self.name]
            queue(channel).declare()

    def url(self, name: str) -> str:
        url: str = self.client.get_queue_url(QueueName=name)['QueueUrl']
        return url

    def send(self, name: str, delay: int = 0) -> None:
        self.client.send_message(QueueUrl=self.url(name), MessageBody='x', DelaySeconds=delay)


@pytest.fixture
def site(sqs: SqsServer) -> Site:
    site = Site(sqs)
    site.declare(sqs.url)
    return site


def failing_for(name: str, fault: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Return a fault of requests about one queue; others are passed on."""

    def answer(handler: Handler) -> None:
        if json.loads(handler.body).get('QueueUrl', '').endswith(f'/{name}'):
            fault(handler)
        else:
            handler.answer(*handler.forward())

    return answer


def test_each_message_is_where_it_is(site: Site, sqs: SqsServer) -> None:
    for _ in range(6):
        site.send(site.name)
    for _ in range(2):
        site.send(site.name, delay=600)
    site.send(site.dead)
    site.client.receive_message(QueueUrl=site.url(site.name), MaxNumberOfMessages=3)
    answer = Asker(site.app(sqs.url)).ask(site.name)
    assert answer.depth == Depth(visible=3, in_flight=3, delayed=2, dead_letters=1)
    assert answer.fault is None


def test_dead_letters_are_looked_for_where_the_policy_says(site: Site, sqs: SqsServer) -> None:
    other = f'other-{site.name}'
    url = site.client.create_queue(QueueName=other)['QueueUrl']
    attributes = site.client.get_queue_attributes(QueueUrl=url, AttributeNames=['QueueArn'])
    arn = attributes['Attributes']['QueueArn']
    policy = json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': 3})
    site.client.set_queue_attributes(
        QueueUrl=site.url(site.name), Attributes={'RedrivePolicy': policy}
    )
    site.send(other)
    assert Asker(site.app(sqs.url)).ask(site.name).depth.dead_letters == 1


def test_a_queue_without_dead_letters_has_none(sqs: SqsServer) -> None:
    site = Site(sqs)
    site.client.create_queue(QueueName=site.name)
    answer = Asker(site.app(sqs.url)).ask(site.name)
    assert (answer.depth, answer.fault) == (Depth(0, 0, 0, None), None)


def test_a_dead_letter_queue_without_a_policy_is_found_by_its_name(sqs: SqsServer) -> None:
    # The transport sends there what nobody can run.
    site = Site(sqs)
    for name in (site.name, site.dead):
        site.client.create_queue(QueueName=name)
    assert Asker(site.app(sqs.url)).ask(site.name).depth.dead_letters == 0


@pytest.mark.parametrize('dead_letter_queue', [True, False])
def test_a_predefined_queue_says_itself_where_its_dead_letters_are(
    site: Site, sqs: SqsServer, dead_letter_queue: bool
) -> None:
    site.send(site.dead)
    dead_url = site.url(site.dead) if dead_letter_queue else ''
    entry = {'url': site.url(site.name), 'dead_letter_url': dead_url}
    app = site.app(sqs.url, **{PREDEFINED: {site.name: entry}})
    answer = Asker(app).ask(site.name)
    assert answer.depth.dead_letters == (1 if dead_letter_queue else None)
    assert answer.fault is None


def test_nobody_makes_a_queue_by_asking(sqs: SqsServer) -> None:
    site = Site(sqs)
    with pytest.raises(QueueError, match=f'{site.name} does not exist'):
        Asker(site.app(sqs.url)).ask(site.name)
    assert site.name not in sqs.queue_names()


def test_a_queue_that_was_made_anew_is_found(site: Site, sqs: SqsServer) -> None:
    asker = Asker(site.app(sqs.url))
    assert asker.ask(site.name).depth.visible == 0
    site.client.delete_queue(QueueUrl=site.url(site.name))
    with pytest.raises(QueueError):
        asker.ask(site.name)
    site.declare(sqs.url)
    assert asker.ask(site.name).depth.visible == 0


def test_a_dead_letter_queue_that_may_not_be_read_leaves_the_rest(
    site: Site, proxy: FaultySqs
) -> None:
    site.send(site.name)
    denied = status(403, 'AccessDeniedException')
    proxy.fail('GetQueueAttributes', failing_for(site.dead, denied))
    answer = Asker(site.app(proxy.url)).ask(site.name)
    assert answer.depth == Depth(visible=1, in_flight=0, delayed=0, dead_letters=None)
    assert f'allow sqs:GetQueueAttributes on {site.dead}' in str(answer.fault)


def test_a_queue_that_may_not_be_read_is_named_with_the_right(site: Site, proxy: FaultySqs) -> None:
    asker = Asker(site.app(proxy.url))
    for operation in ('GetQueueAttributes', 'GetQueueUrl'):
        proxy.fail(operation, status(403, 'AccessDenied'))
        queue = site.name if operation == 'GetQueueAttributes' else 'another'
        with pytest.raises(QueueError, match=f'allow sqs:{operation} on {queue}'):
            asker.ask(queue)


def test_an_outage_passes(site: Site, proxy: FaultySqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(asking.HASTE, 'read_timeout', 0.2)
    poller = DepthPoller(Asker(site.app(proxy.url)).ask, [site.name])
    poller.poll()
    proxy.fail('*', status(500, 'InternalError'))
    poller.poll()
    assert poller.figures()[site.name].errors == 1
    proxy.fail('*', no_answer)
    # A server that says nothing is waited for, but not for long.
    poller.poll()
    assert poller.figures()[site.name].errors == 2
    proxy.mend()
    site.send(site.name)

    def seen() -> bool:
        poller.poll()
        depth = poller.depth(site.name)
        return depth is not None and depth.visible == 1

    wait_until(seen, 'the depth is known again')
    assert poller.figures()[site.name].errors == 2


def test_other_brokers_say_what_they_can() -> None:
    app = Celery(broker='memory://', set_as_current=False)
    poller = DepthPoller(Asker(app).ask, ['a', 'b'])
    with Connection('memory://') as connection:
        queue = connection.SimpleQueue('a')
        for _ in range(2):
            queue.put('x')
        poller.poll()
        queue.close()
    found = poller.figures()
    assert found['a'].depth == Depth(2)
    assert (found['b'].depth, found['b'].errors) == (None, 1)
