"""Producers with a be_queue.Config, on a real SQS server.

No result database is there: a producer must not need one to send.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from functools import partial
from typing import Any

import pytest
from celery import Celery

from be_queue import Config, NoRemoteControlError, Queue, Queues
from be_queue.testing.sqs import SqsServer
from tests.integration.received import Received, received
from tests.support.process import ROOT


@pytest.fixture
def env() -> str:
    """An environment whose queues nobody else uses."""
    return f'env-{uuid.uuid4().hex[:12]}'


def by_mapping(sqs: SqsServer, env: str, **settings: Any) -> Celery:
    queues = [Queue(queue_name='add', task='add'), Queue(queue_name='orders.fifo', task='order')]
    return app_of(Config(Queues(queues).build_celery(env), SQS_ENDPOINT_URL=sqs.url, **settings))


def by_names(sqs: SqsServer, env: str, **settings: Any) -> Celery:
    names = ['add', 'orders.fifo']
    return app_of(Config(names, QUEUE_NAME_PREFIX=env, SQS_ENDPOINT_URL=sqs.url, **settings))


def app_of(config: Config) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(config)
    return app


@pytest.mark.parametrize(
    ('build', 'add', 'order'),
    [(by_mapping, 'add', 'order'), (by_names, 'add.one', 'orders.fifo.one')],
    ids=['mapping', 'names'],
)
def test_each_queue_gets_its_messages_in_order_and_the_platform_queue_a_copy(
    sqs: SqsServer, env: str, build: Any, add: str, order: str
) -> None:
    app = build(sqs, env)
    queue = next(queue for queue in app.conf.task_queues if queue.name.endswith('orders.fifo'))

    def send(task: str, *args: Any, **options: Any) -> Received:
        return Received(
            task, app.send_task(task, args, connection=connection, **options).id, [*args]
        )

    # A connection of its own: kombu's pool would lend the bindings of another test's app.
    with app.connection_for_write() as connection:
        # As Task.retry sends it: by the exchange and routing key that the message came with.
        back = {'exchange': 'task_exchange', 'routing_key': queue.routing_key}
        retry = send(add, 'retry', **back)
        added = send(add, 'é', None)
        ordered = [send(order, number) for number in range(12)]

    client = sqs.client()
    url = client.get_queue_url(QueueName=f'{env}-orders.fifo')['QueueUrl']
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=['FifoQueue'])
    assert attributes['Attributes']['FifoQueue'] == 'true'
    assert received(sqs, f'{env}-add') == [added]
    assert received(sqs, f'{env}-orders.fifo') == [retry, *ordered]
    copies = received(sqs, f'{env}-platform.fifo')
    assert len(copies) == 14
    assert [copy for copy in copies if copy.task == order] == ordered


def test_remote_control_is_refused_and_makes_no_queue(sqs: SqsServer, env: str) -> None:
    there = sqs.queue_names()
    app = by_names(sqs, env, result_backend='cache+memory://')

    def listen() -> None:
        receiver = app.events.Receiver(app.connection_for_read())
        next(receiver.itercapture(timeout=1))

    revoke = partial(app.control.revoke, 'the-id')
    inspect, result = app.control.inspect(), app.AsyncResult('the-id')
    for command in (app.control.ping, inspect.active, revoke, result.revoke, listen):
        with pytest.raises(NoRemoteControlError, match='dashboard'):
            command()
    assert sqs.queue_names() == there


def test_a_command_for_remote_control_fails_in_one_line(sqs: SqsServer, env: str) -> None:
    there = sqs.queue_names()
    own = {'SQS_ENDPOINT_URL': sqs.url, 'ENV': 'local', 'USERNAME': env}

    run = subprocess.run(
        [sys.executable, '-m', 'celery', '-A', 'app.worker', 'inspect', 'ping'],
        cwd=ROOT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode != 0
    (line,) = run.stderr.splitlines()
    assert 'Remote control' in line
    assert 'dashboard' in line
    assert sqs.queue_names() == there
