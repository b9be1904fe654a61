"""Messages that are handed back, on a real SQS server."""

from __future__ import annotations

import uuid

import kombu
import pytest
from celery import Celery

from be_queue import Config, Queue, Queues
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until


@pytest.fixture
def app(sqs: SqsServer) -> Celery:
    queues = Queues([Queue(queue_name='work', task='work')])
    queues.build_celery('local', username=f't{uuid.uuid4().hex[:10]}')
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(
            queues,
            SQS_ENDPOINT_URL=sqs.url,
            result_backend='cache+memory://',
            broker_transport='be_queue.transport:Transport',
            broker_transport_options={'wait_time_seconds': 1},
        )
    )
    return app


def receive(app: Celery, connection: kombu.Connection) -> kombu.Message:
    received: list[kombu.Message] = []
    queue = app.amqp.queues[app.conf.QUEUES.celery_task_queues()[-1].name]
    with kombu.Consumer(connection.channel(), [queue], on_message=received.append):
        connection.drain_events(timeout=10)
    (message,) = received
    return message


def test_a_requeued_message_comes_back_to_its_queue_and_to_no_other(
    app: Celery, sqs: SqsServer
) -> None:
    work, platform = app.conf.QUEUES.topology().work[0], app.conf.QUEUES.topology().platform
    app.send_task('work')
    with app.connection_for_read() as connection:
        receive(app, connection).requeue()
        wait_until(lambda: sqs.visible(work) == 1, 'the message is visible again')
        assert sqs.in_flight(work) == 0
        assert (sqs.visible(platform), sqs.in_flight(platform)) == (1, 0)


def test_a_message_that_cannot_be_handed_back_is_a_warning(
    app: Celery, sqs: SqsServer, caplog: pytest.LogCaptureFixture
) -> None:
    work = app.conf.QUEUES.topology().work[0]
    app.send_task('work')
    with app.connection_for_read() as connection:
        message = receive(app, connection)
        client = sqs.client()
        url = client.get_queue_url(QueueName=work)['QueueUrl']
        client.delete_queue(QueueUrl=url)
        message.requeue()
        assert 'a message was not handed back' in caplog.text
