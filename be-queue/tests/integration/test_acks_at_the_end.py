"""Acks when the event loop has ended, and running tasks are waited for, on a real SQS server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import kombu
import pytest
from kombu.asynchronous import Hub

from be_queue.testing.waiting import wait_until
from tests.integration.consuming import consuming
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import DELETE, FaultySqs

#: Otherwise boto3 itself retries for many seconds.
ONCE = {'client-config': {'retries': {'mode': 'standard', 'total_max_attempts': 1}}}
UNAVAILABLE = faulty.status(503, 'ServiceUnavailable')


def fail_deletes(proxy: FaultySqs, fault: faulty.Fault) -> None:
    for operation in DELETE:
        proxy.fail(operation, fault)


def wait_hidden(proxy: FaultySqs, message: kombu.Message) -> None:
    """Wait until a message is asked to stay hidden, and have it done."""
    handles: list[str] = []

    def extend(handler: faulty.Handler) -> None:
        handles.extend(entry['ReceiptHandle'] for entry in json.loads(handler.body)['Entries'])
        handler.answer(*handler.forward())

    proxy.fail('ChangeMessageVisibilityBatch', extend)
    wait_until(lambda: message.delivery_tag in handles, 'it stays hidden')


@contextmanager
def ended(scene: Scene, hub: Hub, proxy: FaultySqs) -> Iterator[list[kombu.Message]]:
    """Hold two messages of which a worker's pool runs the tasks when the loop has ended."""
    producer = scene.app()
    for number in range(2):
        producer.send_task('work', (number,))
    app = scene.app(proxy.url, visibility_timeout=6, **ONCE)
    with consuming(app, hub, scene.work) as consumer:
        consumer.wait_for(2)
        consumer.consumer.cancel()
        yield consumer.held


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
        wait_hidden(proxy, first)
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
        wait_hidden(proxy, first)
        assert ack.is_alive()
        proxy.repair()
        ack.join()
        second.ack()
        assert count(scene) == 0


@pytest.mark.parametrize('is_back', [True, False], ids=['back', 'still unavailable'])
def test_the_last_acks_are_tried_again_when_the_channel_closes(
    scene: Scene, hub: Hub, proxy: FaultySqs, caplog: pytest.LogCaptureFixture, is_back: bool
) -> None:
    with ended(scene, hub, proxy) as (first, second):
        fail_deletes(proxy, UNAVAILABLE)
        first.ack()
        second.reject()
        # Moved once, though it is deleted later.
        assert scene.sqs.visible(f'err-{scene.work}') == 1
        assert 'will run again' not in caplog.text
        if is_back:
            proxy.repair()
    left = 0 if is_back else 2
    assert count(scene) == left
    assert caplog.text.count(f'will run again: queue={scene.work} messages=2') == left / 2
    assert scene.sqs.visible(f'err-{scene.work}') == 1
