"""Producers for the tests of sending, and a look at what they ask SQS for."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, signals

from be_queue import Config, Outcome, Queue, Queues
from be_queue.testing.sqs import SqsServer
from tests.support.faulty import Fault, FaultySqs, Handler, faulty_sqs

MAPPING = (Queue(queue_name='work', task='work'), Queue(queue_name='ordered.fifo', task='ordered'))


class Site:
    """A work queue, a FIFO work queue and the platform queue, of names that nobody else uses."""

    def __init__(self, sqs: SqsServer) -> None:
        self.sqs = sqs
        self.env = f't{uuid.uuid4().hex[:10]}'
        self.work, self.fifo = f'{self.env}-work', f'{self.env}-ordered.fifo'
        self.platform = f'{self.env}-platform.fifo'

    def app(
        self, url: str | None = None, platform: str | bool = 'platform.fifo', **settings: Any
    ) -> Celery:
        """Return an app that sends task 'work', and 'ordered' through the FIFO queue."""
        queues = Queues(MAPPING).build_celery(self.env, platform_queue_name=platform or '')
        app = Celery(set_as_current=False)
        # A login of its own: kombu's pool would lend the bindings of another app.
        url = (url or self.sqs.url).replace('//test:', f'//{uuid.uuid4().hex}:')
        settings = {'result_backend': 'disabled://', 'SQS_ENDPOINT_URL': url} | settings
        app.config_from_object(Config(queues, **settings))
        return app

    def create(self, queue: str, **attributes: Any) -> str:
        """Create a queue and return its URL."""
        texts = {name: str(value) for name, value in attributes.items()}
        if queue.endswith('.fifo'):
            texts['FifoQueue'] = 'true'
        url: str = self.sqs.client().create_queue(QueueName=queue, Attributes=texts)['QueueUrl']
        return url

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Receive all messages of a queue, with their attributes."""
        client = self.sqs.client()
        url = client.get_queue_url(QueueName=queue)['QueueUrl']
        everything = {'MessageSystemAttributeNames': ['All'], 'MessageAttributeNames': ['All']}
        found: list[dict[str, Any]] = []
        while messages := client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, **everything
        ).get('Messages'):
            for message in messages:
                client.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])
            found += messages
        return found

    def args(self, queue: str) -> list[Any]:
        """Receive all messages of a queue; return the positional arguments of each task."""
        bodies = (json.loads(message['Body'])['body'] for message in self.messages(queue))
        return [json.loads(body)[0] for body in bodies]


@pytest.fixture
def site(sqs: SqsServer) -> Site:
    return Site(sqs)


@pytest.fixture(scope='module')
def server(sqs: SqsServer) -> Iterator[FaultySqs]:
    with faulty_sqs(sqs.port) as server:
        yield server


@pytest.fixture
def proxy(server: FaultySqs) -> Iterator[FaultySqs]:
    """A proxy before the SQS server, without faults."""
    server.requests.clear()
    yield server
    server.repair()


def forward(handler: Handler) -> None:
    """Pass a request on: the fault that is none."""
    handler.answer(*handler.forward())


class Asked:
    """Keeps the requests of an operation, and passes them on."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def __call__(self, handler: Handler) -> None:
        self.requests.append(json.loads(handler.body))
        forward(handler)

    def of(self, queue: str) -> list[dict[str, Any]]:
        """Return the requests to one queue."""
        return [r for r in self.requests if r['QueueUrl'].endswith(f'/{queue}')]


def asked(proxy: FaultySqs, operation: str = 'SendMessage') -> Asked:
    """Keep what the requests of an operation ask for."""
    seen = Asked()
    proxy.fail(operation, seen)
    return seen


def asks_for(handler: Handler, queue: str) -> bool:
    """Return whether a request is for the queue."""
    return bool(json.loads(handler.body).get('QueueUrl', '').endswith(f'/{queue}'))


def only(queue: str, fault: Fault) -> Fault:
    """Have the requests to one queue fail, and no other."""
    return lambda handler: (fault if asks_for(handler, queue) else forward)(handler)


def first(times: int, fault: Fault) -> Fault:
    """Have the first requests to each queue fail, and no other."""
    seen: Counter[str] = Counter()

    def maybe(handler: Handler) -> None:
        url = json.loads(handler.body)['QueueUrl']
        seen[url] += 1
        (fault if seen[url] <= times else forward)(handler)

    return maybe


def tries(number: int) -> dict[str, Any]:
    """Return transport options: boto3 tries each request so often."""
    return {'client-config': {'retries': {'total_max_attempts': number}}}


def calls(app: Celery, task: str, count: int) -> list[Any]:
    return [app.signature(task, (number,)) for number in range(count)]


def errors(outcomes: list[Outcome]) -> list[Exception]:
    return [outcome.error for outcome in outcomes if outcome.error is not None]


@contextmanager
def before_each_publish(receiver: Callable[..., None]) -> Iterator[None]:
    signals.before_task_publish.connect(receiver)
    try:
        yield
    finally:
        signals.before_task_publish.disconnect(receiver)
