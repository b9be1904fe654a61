"""This transport beside kombu's own, on the same queues, and with queues that others have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery
from kombu.asynchronous import Hub

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.integration.consuming import consuming
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.own_tasks import FIFO_QUEUE, QUEUES, build, predefined
from tests.support.own_worker import own_worker
from tests.support.worker import Site

OURS, STOCK = 'be_queue.transport:Transport', 'sqs'
PAIRS = pytest.mark.parametrize(
    ('sender', 'receiver'),
    [(OURS, STOCK), (STOCK, OURS)],
    ids=['ours to stock', 'stock to ours'],
)
ARGUMENTS = ['plain', 'é ✓ \U0001f600', {'nested': [1, None, 2.5]}, 'bGlrZSBiYXNlNjQ=', '']


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    return Site(tmp_path, sqs.url, postgres.environment)


def app_with(site: Site, transport: str, **options: Any) -> Celery:
    environment = site.environment
    return build(
        site.username,
        SQS_ENDPOINT_URL=environment['SQS_ENDPOINT_URL'],
        broker_transport=transport,
        broker_transport_options={'wait_time_seconds': 1} | options,
        **{name: v for name, v in environment.items() if name.startswith('RESULT_DB_')},
    )


def send(app: Celery, task: str, *args: Any, **options: Any) -> str:
    with app.connection_for_write() as connection:
        return str(app.send_task(task, args, connection=connection, **options).id)


def receive(app: Celery, queue: str) -> kombu.Message:
    """Receive one message as a consumer without an event loop does."""
    received: list[kombu.Message] = []
    with (
        app.connection_for_read() as connection,
        kombu.Consumer(connection.channel(), [app.amqp.queues[queue]], on_message=received.append),
    ):
        connection.drain_events(timeout=10)
        received[0].ack()
    (message,) = received
    return message


@PAIRS
@pytest.mark.parametrize(
    ('queue', 'base64'),
    [('tests-add', None), ('tests-add', True), (FIFO_QUEUE, None)],
    ids=['default', 'base64', 'FIFO'],
)
def test_what_one_sends_the_other_reads(
    site: Site, sqs: SqsServer, sender: str, receiver: str, queue: str, base64: bool | None
) -> None:
    encoding = {} if base64 is None else {'sqs_base64_encoding': base64}
    task = next(q.task for q in QUEUES if q.queue_name == queue)
    name = f'{site.username}-local-{queue}'

    app = app_with(site, sender, **encoding)
    sent = send(app, task, *ARGUMENTS)
    reader = app_with(site, receiver)
    message = receive(reader, name)

    assert message.headers['task'] == task
    assert message.headers['id'] == message.properties['correlation_id'] == sent
    args, kwargs, embedded = message.decode()
    assert (args, kwargs, embedded['chain']) == (ARGUMENTS, {}, None)
    assert message.delivery_info['routing_key'] == name
    if queue == 'tests-add':
        for options in ({'compression': 'gzip'}, {'serializer': 'pickle'}):
            send(app, task, 'é', 2, **options)
            message = receive(reader, name)
            message.accept = {'application/json', 'application/x-python-serialize'}
            assert list(message.decode()[0]) == ['é', 2]
    wait_until(lambda: sqs.visible(name) == sqs.in_flight(name) == 0, 'it is deleted')


@PAIRS
def test_a_worker_of_one_runs_the_tasks_of_the_other(
    site: Site, sender: str, receiver: str
) -> None:
    app = app_with(site, sender)
    options = {'wait_time_seconds': 1, 'polling_interval': 0.05}
    with own_worker(
        site, CELERY_BROKER_TRANSPORT=receiver, CELERY_BROKER_TRANSPORT_OPTIONS=options
    ):
        results = [app.send_task('tests.add', (n, 1)) for n in range(10)]
        assert [result.get(timeout=30) for result in results] == [*range(1, 11)]
        # Its steps are sent by the worker.
        steps = app.tasks['tests.add'].s(1, 1) | app.tasks['tests.add'].s(1)
        assert steps.apply_async().get(timeout=30) == 3


def test_predefined_queues_need_no_permission_to_list_or_create(
    tmp_path: Path, proxy: FaultySqs, sqs: SqsServer, postgres: PostgresServer
) -> None:
    for operation in ('ListQueues', 'CreateQueue'):
        proxy.fail(operation, faulty.status(403, 'AccessDeniedException'))
    site = Site(tmp_path, proxy.url, postgres.environment)
    options = {'predefined_queues': predefined(site.username, sqs), 'wait_time_seconds': 1}
    app = app_with(site, OURS, **options)
    with own_worker(
        site, CELERY_BROKER_TRANSPORT=OURS, CELERY_BROKER_TRANSPORT_OPTIONS=options
    ) as worker:
        results = [app.send_task('tests.add', (n, 1)) for n in range(10)]
        assert [result.get(timeout=30) for result in results] == [*range(1, 11)]
        name = f'{site.username}-local-tests-add'
        wait_until(lambda: sqs.visible(name) == sqs.in_flight(name) == 0, 'all are deleted')
    assert 'Traceback' not in worker.log
    assert (proxy.requests['ListQueues'], proxy.requests['CreateQueue']) == (0, 0)


def test_what_is_held_counts_for_the_queue_that_it_came_from(
    site: Site, sqs: SqsServer, hub: Hub
) -> None:
    """Another app sends to a predefined queue by an exchange and key of its own."""
    name = f'{site.username}-local-tests-add'
    options = {'predefined_queues': predefined(site.username, sqs), 'visibility_timeout': 6}
    app = app_with(site, OURS, **options)
    with app.connection_for_write() as connection:
        exchange = kombu.Exchange('shop', 'topic')
        kombu.Queue(name, exchange, routing_key='shop.add')(connection.channel()).declare()
        app.send_task(
            'tests.add',
            (1, 1),
            exchange='shop',
            routing_key='shop.add',
            producer=app.amqp.Producer(connection),
        )
    with consuming(app, hub, name) as consumer:
        consumer.wait_for(1)
        ((_, message),) = consumer.channel.held()
        info = message.delivery_info
        assert (info['received_from'], info['routing_key']) == (name, 'shop.add')
        consumer.acknowledge()
    assert sqs.visible(name) == sqs.in_flight(name) == 0
