"""Messages that are requeued, and threads beside the event loop, on a real SQS server."""

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

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.integration.consuming import consuming
from tests.integration.scene import Scene
from tests.support.loop import turn_until


@pytest.fixture
def app(scene: Scene) -> Celery:
    return scene.app()


def receive(app: Celery, connection: kombu.Connection, queue: str) -> kombu.Message:
    received: list[kombu.Message] = []
    queues = [app.amqp.queues[queue]]
    with kombu.Consumer(connection.channel(), queues, on_message=received.append):
        connection.drain_events(timeout=10)
    (message,) = received
    return message


def test_a_requeued_message_comes_back_to_its_queue_and_to_no_other(
    scene: Scene, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    sqs, work = scene.sqs, scene.work
    app.send_task('work')
    with app.connection_for_read() as connection:
        receive(app, connection, work).requeue()
        wait_until(lambda: sqs.visible(work) == 1, 'the message is visible again')
        assert sqs.in_flight(work) == 0
        assert (sqs.visible(scene.platform), sqs.in_flight(scene.platform)) == (1, 0)

        message = receive(app, connection, work)
        scene.client.delete_queue(QueueUrl=scene.url(work))
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
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(f'simple-{uuid.uuid4().hex}')
        queue.put('work')
        for _ in range(3):
            hand_back(queue.get(timeout=10))
            message = queue.get_nowait()
            assert message.payload == 'work'
            hand_back(message)


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
    scene: Scene, app: Celery, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking: set[int] = set()

    def noted(client: CurlClient, request: object) -> object:
        asking.add(threading.get_ident())
        return add_request(client, request)

    add_request = CurlClient.add_request
    monkeypatch.setattr(CurlClient, 'add_request', noted)
    for number in range(30):
        app.send_task('work', (number,))
    with consuming(app, hub, scene.work, children=30) as consumer:
        consumer.wait_for(30)

        def settle() -> None:
            for message in consumer.held[:20]:
                message.ack()
            for message in consumer.held[20:]:
                message.reject()

        thread = threading.Thread(target=settle)
        thread.start()
        turn_until(
            hub,
            lambda: (
                not thread.is_alive()
                and not consumer.channel.held()
                and scene.sqs.in_flight(scene.work) == 0
            ),
            'all are deleted, or in the dead-letter queue',
        )
    assert asking == {threading.get_ident()}
    assert (scene.sqs.visible(scene.work), scene.sqs.visible(f'err-{scene.work}')) == (0, 10)
