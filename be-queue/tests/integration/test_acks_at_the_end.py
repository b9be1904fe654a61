"""Acks when the event loop has ended, and running tasks are waited for, on a real SQS server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from kombu.asynchronous import Hub

from be_queue.testing.waiting import wait_until
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import DELETE, FaultySqs
from tests.support.loop import turn_until

#: Otherwise boto3 itself retries for many seconds.
ONCE = {'client-config': {'retries': {'mode': 'standard', 'total_max_attempts': 1}}}
UNAVAILABLE = faulty.status(503, 'ServiceUnavailable')


def fail_deletes(proxy: FaultySqs, fault: faulty.Fault) -> None:
    for operation in DELETE:
        proxy.fail(operation, fault)


class Extensions:
    """Notes what is asked to stay hidden, and has it done."""

    def __init__(self) -> None:
        self.handles: list[str] = []

    def __call__(self, handler: faulty.Handler) -> None:
        entries = json.loads(handler.body)['Entries']
        self.handles += [entry['ReceiptHandle'] for entry in entries]
        handler.answer(*handler.forward())


@contextmanager
def ended(scene: Scene, hub: Hub, proxy: FaultySqs) -> Iterator[list[kombu.Message]]:
    """Hold two messages of which a worker's pool runs the tasks when the loop has ended."""
    producer = scene.app()
    for number in range(2):
        producer.send_task('work', (number,))
    app = scene.app(proxy.url, visibility_timeout=6, **ONCE)
    connection = app.connection_for_read()
    held: list[kombu.Message] = []
    channel: Any = connection.channel()
    with kombu.Consumer(channel, [app.amqp.queues[scene.work]], on_message=held.append):
        connection.transport.register_with_event_loop(connection.connection, hub)
        turn_until(hub, lambda: len(held) == 2, 'both are received')
    try:
        yield held
    finally:
        connection.close()


def count(scene: Scene) -> int:
    return scene.sqs.visible(scene.work) + scene.sqs.in_flight(scene.work)


@pytest.mark.parametrize('fault', [UNAVAILABLE, faulty.reset], ids=['refused', 'reset'])
def test_an_ack_that_fails_is_kept_hidden_and_tried_with_the_next(
    scene: Scene,
    hub: Hub,
    proxy: FaultySqs,
    fault: faulty.Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ended(scene, hub, proxy) as (first, second):
        fail_deletes(proxy, fault)
        first.ack()
        extensions = Extensions()
        proxy.fail('ChangeMessageVisibilityBatch', extensions)
        wait_until(lambda: first.delivery_tag in extensions.handles, 'it stays hidden')
        assert count(scene) == 2
        proxy.repair()
        second.ack()
        assert count(scene) == 0
    assert caplog.text.count(f'deleting from SQS queue {scene.work} is unavailable') == 1
    assert caplog.text.count(f'deleting from SQS queue {scene.work} is back') == 1
    assert 'will run again' not in caplog.text


def test_it_stays_hidden_while_its_delete_is_without_an_answer(
    scene: Scene, hub: Hub, proxy: FaultySqs
) -> None:
    with ended(scene, hub, proxy) as (first, second):
        fail_deletes(proxy, faulty.no_answer)
        ack = threading.Thread(target=first.ack)
        ack.start()
        wait_until(lambda: sum(proxy.requests[name] for name in DELETE), 'the delete is asked for')
        extensions = Extensions()
        proxy.fail('ChangeMessageVisibilityBatch', extensions)
        wait_until(lambda: first.delivery_tag in extensions.handles, 'it stays hidden')
        assert ack.is_alive()
        proxy.repair()
        ack.join()
        second.ack()
        assert count(scene) == 0


def test_the_last_ack_is_tried_again_when_the_channel_closes(
    scene: Scene, hub: Hub, proxy: FaultySqs
) -> None:
    with ended(scene, hub, proxy) as (first, second):
        fail_deletes(proxy, UNAVAILABLE)
        first.ack()
        second.ack()
        proxy.repair()
    assert count(scene) == 0


def test_what_is_not_deleted_at_the_very_end_is_told(
    scene: Scene, hub: Hub, proxy: FaultySqs, caplog: pytest.LogCaptureFixture
) -> None:
    with ended(scene, hub, proxy) as (first, second):
        fail_deletes(proxy, UNAVAILABLE)
        first.ack()
        second.ack()
        assert 'will run again' not in caplog.text
    assert caplog.text.count('will run again') == 1
    assert f'will run again: queue={scene.work} messages=2' in caplog.text


def test_a_dead_letter_that_is_not_deleted_is_not_moved_again(
    scene: Scene, hub: Hub, proxy: FaultySqs
) -> None:
    with ended(scene, hub, proxy) as (first, second):
        fail_deletes(proxy, UNAVAILABLE)
        first.reject()
        assert scene.sqs.visible(f'err-{scene.work}') == 1
        proxy.repair()
        second.ack()
        assert count(scene) == 0
    assert scene.sqs.visible(f'err-{scene.work}') == 1
