"""Messages that are handed back, on a real SQS server."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from functools import partial

import kombu
import pytest
from celery import Celery
from kombu.asynchronous import Hub
from kombu.asynchronous.http.curl import CurlClient

from be_queue import Config, Queue, Queues
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support.loop import turn_until


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
        assert 'messages were not handed back' in caplog.text


@pytest.mark.parametrize(
    'hand_back',
    [kombu.Message.requeue, partial(kombu.Message.reject, requeue=True)],
    ids=['requeue', 'reject'],
)
def test_without_an_event_loop_a_requeued_message_is_back_at_once(
    app: Celery, hand_back: Callable[[kombu.Message], None]
) -> None:
    app.conf.broker_transport_options['wait_time_seconds'] = 0
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(f'simple-{uuid.uuid4().hex}')
        queue.put('work')
        for _ in range(3):
            hand_back(queue.get(timeout=10))
            message = queue.get_nowait()
            assert message.payload == 'work'
            hand_back(message)


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that have used an HTTP client of the event loop."""
    threads: set[int] = set()

    def noted(client: CurlClient, request: object) -> object:
        threads.add(threading.get_ident())
        return add_request(client, request)

    add_request = CurlClient.add_request
    monkeypatch.setattr(CurlClient, 'add_request', noted)
    return threads


WORKER_BESIDE_A_THREAD = """
import time
from celery import Celery
from celery.contrib.testing.worker import start_worker
from be_queue import Config, NoRemoteControlError

app = Celery()
app.config_from_object(Config(
    ['work'], SQS_ENDPOINT_URL={url!r}, QUEUE_NAME_PREFIX={env!r}, PLATFORM_QUEUE_NAME='',
    result_backend='cache+memory://', broker_transport_options={{'wait_time_seconds': 1}},
))
ran = []


@app.task(name='work.one')
def run(argument):
    ran.append(argument)
    print(argument)


with start_worker(app, perform_ping_check=False, shutdown_timeout=30):
    for number in range(5):
        app.send_task('work.one', (number,))
        with app.connection_for_read() as connection, connection.SimpleQueue('beside') as queue:
            queue.put('one')
            queue.get(timeout=10).requeue()
            queue.get(timeout=10).reject()
            queue.put('two')
            queue.get(timeout=10).ack()
        try:
            app.control.inspect().ping()
        except NoRemoteControlError:
            pass
    app.send_task('work.one', ('last',))
    while 'last' not in ran:
        time.sleep(0.05)
"""


def test_a_worker_lives_on_while_another_thread_of_its_process_uses_the_broker(
    sqs: SqsServer,
) -> None:
    env = f't{uuid.uuid4().hex[:10]}'

    run = subprocess.run(
        [sys.executable, '-c', WORKER_BESIDE_A_THREAD.format(url=sqs.url, env=env)],
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert 'Unrecoverable' not in run.stderr
    assert (run.returncode, sorted(run.stdout.split())) == (0, ['0', '1', '2', '3', '4', 'last'])
    assert sqs.visible(f'{env}-work') == sqs.in_flight(f'{env}-work') == 0


def test_what_a_thread_acknowledges_or_rejects_the_event_loop_does(
    app: Celery, sqs: SqsServer, hub: Hub, asking: set[int]
) -> None:
    work = app.conf.QUEUES.topology().work[0]
    for number in range(30):
        app.send_task('work', (number,))
    received: list[kombu.Message] = []
    with app.connection_for_read() as connection:
        channel = connection.channel()
        consumer = kombu.Consumer(channel, [app.amqp.queues[work]], on_message=received.append)
        consumer.consume()
        connection.transport.register_with_event_loop(connection.connection, hub)
        turn_until(hub, lambda: len(received) == 30, 'all are received')

        def settle() -> None:
            for message in received[:20]:
                message.ack()
            for message in received[20:]:
                message.reject()

        thread = threading.Thread(target=settle)
        thread.start()
        turn_until(
            hub,
            lambda: not thread.is_alive() and not channel.held() and sqs.in_flight(work) == 0,
            'all are deleted, or in the dead-letter queue',
        )
        consumer.cancel()
    assert asking == {threading.get_ident()}
    assert (sqs.visible(work), sqs.visible(f'err-{work}')) == (0, 10)
