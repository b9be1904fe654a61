"""Messages that are rejected without an event loop, on a real SQS server."""

from __future__ import annotations

import json
from typing import Any

import kombu
import pytest
from celery import Celery

from be_queue.transport.dead_letters import MESSAGE_ID, REASON, SOURCE
from tests.integration.scene import Scene
from tests.integration.sending import tries
from tests.support import faulty
from tests.support.faulty import FaultySqs


def receive(app: Celery, connection: kombu.Connection, name: str) -> kombu.Message:
    received: list[kombu.Message] = []
    with kombu.Consumer(
        connection.default_channel, [app.amqp.queues[name]], on_message=received.append
    ):
        connection.drain_events(timeout=10)
    (message,) = received
    return message


def send_and_reject(app: Celery, scene: Scene, times: int = 1) -> None:
    with app.connection_for_read() as connection:
        for _ in range(times):
            app.send_task('work', connection=connection)
            receive(app, connection, scene.work).reject()


def predefined(scene: Scene, url: str = '', **entry: Any) -> Celery:
    """Return an app whose queues exist already; ``entry`` is more about the work queue."""
    scene.make(scene.platform, FifoQueue='true')
    queues = {name: {'url': scene.url(name)} for name in (scene.work, scene.platform)}
    queues[scene.work] |= entry
    return scene.app(url, predefined_queues=queues, visibility_timeout=600)


def dead_letters(scene: Scene, name: str) -> list[dict[str, Any]]:
    answer = scene.client.receive_message(
        QueueUrl=scene.url(f'err-{name}'),
        MaxNumberOfMessages=10,
        MessageAttributeNames=['All'],
        MessageSystemAttributeNames=['All'],
    )
    found: list[dict[str, Any]] = answer.get('Messages', [])
    return found


def test_a_rejected_message_is_moved_untouched_without_an_event_loop_too(scene: Scene) -> None:
    app = scene.app()
    scene.declare(app)
    mark = {'mark': {'DataType': 'Binary', 'BinaryValue': b'\0\1\xff'}}
    body = json.dumps({'properties': {'delivery_info': {}}, 'headers': {'task': 'work'}}) + ' \n'
    sent = scene.client.send_message(
        QueueUrl=scene.url(scene.work), MessageBody=body, MessageAttributes=mark
    )
    with app.connection_for_read() as connection:
        receive(app, connection, scene.work).reject()

    (letter,) = dead_letters(scene, scene.work)
    assert letter['Body'] == body
    attributes = letter['MessageAttributes']
    assert attributes.pop('mark')['BinaryValue'] == b'\0\1\xff'
    assert {name: value['StringValue'] for name, value in attributes.items()} == {
        REASON: 'rejected by its consumer: work',
        SOURCE: scene.work,
        MESSAGE_ID: sent['MessageId'],
    }
    assert scene.is_empty(scene.work)


def test_a_rejected_copy_on_the_platform_queue_goes_where_that_queue_says(scene: Scene) -> None:
    scene.declare(scene.app())
    platform = scene.platform
    names = {
        name: {'url': scene.url(name), 'dead_letter_url': scene.url(f'err-{name}')}
        for name in (scene.work, platform)
    }
    app = scene.app(predefined_queues=names)
    with app.connection_for_read() as connection:
        app.send_task('work', connection=connection)
        message = receive(app, connection, platform)
        group = message.delivery_info['sqs_message']['Attributes']['MessageGroupId']
        with kombu.Consumer(connection.default_channel, [app.amqp.queues[platform]]):
            message.reject()

    (letter,) = dead_letters(scene, platform)
    assert letter['Attributes']['MessageGroupId'] == group
    assert letter['MessageAttributes'][SOURCE]['StringValue'] == platform


def test_a_message_stays_when_its_dead_letter_queue_cannot_be_reached(
    scene: Scene, proxy: FaultySqs, caplog: pytest.LogCaptureFixture
) -> None:
    scene.app().send_task('work')
    app = scene.app(proxy.url, visibility_timeout=1, **tries(1))
    with app.connection_for_read() as connection:
        proxy.fail('SendMessage', faulty.status(500, 'InternalError'))
        receive(app, connection, scene.work).reject()
        assert f'sending to dead-letter queue err-{scene.work}' in caplog.text
        proxy.repair()
        receive(app, connection, scene.work).reject()
    assert len(dead_letters(scene, scene.work)) == 1
    assert scene.is_empty(scene.work)


def test_a_predefined_queues_dead_letter_queue_is_found_by_its_policy(
    scene: Scene, proxy: FaultySqs
) -> None:
    scene.make_both(3, f'err-other-{scene.work}')
    send_and_reject(predefined(scene, proxy.url), scene, times=2)
    assert len(dead_letters(scene, f'other-{scene.work}')) == 2
    assert proxy.requests['GetQueueUrl'] == 0


def test_a_rejected_message_without_a_dead_letter_queue_is_deleted_as_kombu_does(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.make(scene.work)
    send_and_reject(predefined(scene), scene, times=2)
    assert caplog.text.count('a queue has no dead-letter queue that can be used') == 1
    assert scene.is_empty(scene.work)


def test_a_task_with_a_backoff_policy_is_left_to_it(scene: Scene) -> None:
    scene.make_both()
    app = predefined(scene, backoff_tasks=['work'], backoff_policy={1: 1})
    send_and_reject(app, scene)
    with app.connection_for_read() as connection:
        assert receive(app, connection, scene.work).headers['task'] == 'work'
    assert dead_letters(scene, scene.work) == []
