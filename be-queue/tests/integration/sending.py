"""Producers for the tests of sending, and a look at what they ask SQS for."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, signals

from be_queue import Config, Outcome, Queue, Queues
from be_queue.testing.sqs import SqsServer
from tests.support.faulty import FaultySqs, Handler, faulty_sqs


class Site:
    """A work queue, a FIFO work queue and the platform queue, of names that nobody else uses."""

    def __init__(self, sqs: SqsServer) -> None:
        self.sqs = sqs
        self.env = f't{uuid.uuid4().hex[:10]}'
        self.work, self.fifo = f'{self.env}-work', f'{self.env}-ordered.fifo'
        self.platform = f'{self.env}-platform.fifo'

    def app(self, url: str | None = None, platform: bool = True, **settings: Any) -> Celery:
        """Return an app that sends task 'work', and 'ordered' through the FIFO queue."""
        queues = Queues(
            [
                Queue(queue_name='work', task='work'),
                Queue(queue_name='ordered.fifo', task='ordered'),
            ]
        ).build_celery(self.env, platform_queue_name='platform.fifo' if platform else '')
        settings = {'result_backend': 'disabled://'} | settings
        app = Celery(set_as_current=False)
        # A login of its own: kombu's pool would lend the bindings of another app.
        url = (url or self.sqs.url).replace('//test:', f'//{uuid.uuid4().hex}:')
        app.config_from_object(Config(queues, SQS_ENDPOINT_URL=url, **settings))
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
        found: list[dict[str, Any]] = []
        while True:
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageSystemAttributeNames=['All'],
                MessageAttributeNames=['All'],
            )
            if not answer.get('Messages'):
                return found
            for message in answer['Messages']:
                client.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])
            found += answer['Messages']

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


class Asked:
    """A fault that is none: keeps what each request asks for, and passes it on."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def __call__(self, handler: Handler) -> None:
        self.requests.append(json.loads(handler.body))
        handler.answer(*handler.forward())

    def of(self, queue: str) -> list[dict[str, Any]]:
        """Return the requests to one queue."""
        return [r for r in self.requests if r['QueueUrl'].endswith(f'/{queue}')]


def asks_for(handler: Handler, queue: str) -> bool:
    """Return whether a request is for the queue."""
    return bool(json.loads(handler.body).get('QueueUrl', '').endswith(f'/{queue}'))


def only(queue: str, fault: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Have the requests to one queue fail, and no other."""

    def maybe(handler: Handler) -> None:
        if asks_for(handler, queue):
            fault(handler)
        else:
            handler.answer(*handler.forward())

    return maybe


def first(times: int, fault: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Have the first requests to each queue fail, and no other."""
    seen: dict[str, int] = {}

    def maybe(handler: Handler) -> None:
        url = json.loads(handler.body)['QueueUrl']
        seen[url] = seen.get(url, 0) + 1
        if seen[url] <= times:
            fault(handler)
        else:
            handler.answer(*handler.forward())

    return maybe


def asked(proxy: FaultySqs, operation: str = 'SendMessage') -> Asked:
    """Keep what the requests of an operation ask for."""
    seen = Asked()
    proxy.fail(operation, seen)
    return seen


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
