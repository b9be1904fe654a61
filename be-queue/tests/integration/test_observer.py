"""The observer of a channel sees each message, on a real SQS server."""

from __future__ import annotations

import json
import threading

import pytest
from kombu.asynchronous import Hub

from tests.integration.consuming import consuming
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import turn_until

CHANGE = 'ChangeMessageVisibilityBatch'


def test_receives_and_deletes(scene: Scene, hub: Hub) -> None:
    app = scene.app()
    for number in range(12):
        app.send_task('work', (number,))
    with consuming(app, hub, scene.work) as consumer:
        noted = consumer.noted
        consumer.wait_for(12)
        turn_until(hub, lambda: noted.receives[-1] == 0, 'none is left')
        assert sum(noted.receives) == 12
        consumer.acknowledge()
        turn_until(hub, lambda: sum(n for n, _ in noted.deletes) == 12, 'all are deleted')
        delays = [delay for _, of_batch in noted.deletes for delay in of_batch]
        assert len(delays) == 12
        assert min(delays) > 0
        assert max(n for n, _ in noted.deletes) == 10
        statuses = {status for name, status in noted.requests if name != 'GetQueueUrl'}
        assert statuses == {'ok'}
        operations = [name for name, _ in noted.requests]
        assert operations.count('ReceiveMessage') == len(noted.receives)
        assert operations.count('DeleteMessageBatch') == len(noted.deletes)
        assert min(noted.seconds) > 0


def test_each_message_says_when_it_could_run(scene: Scene, hub: Hub) -> None:
    app = scene.app()
    app.send_task('work')
    app.send_task('work', countdown=1)  # which a worker holds: it is due so soon
    with consuming(app, hub, scene.work) as consumer:
        consumer.wait_for(2)
        infos = [message.properties['delivery_info'] for message in consumer.held]
        due = sorted(info['due_at'] for info in infos)
        sent = sorted(
            int(info['sqs_message']['Attributes']['SentTimestamp']) / 1000 for info in infos
        )
        assert due[0] == sent[0]
        assert due[1] > sent[1]
        consumer.acknowledge()


def test_extensions(scene: Scene, hub: Hub, proxy: FaultySqs) -> None:
    app = scene.app(proxy.url)
    for _ in range(2):
        app.send_task('work')
    with consuming(app, hub, scene.work) as consumer:
        consumer.wait_for(2)
        for noted in ([(2, 0)], [(2, 0), (0, 2)]):
            consumer.channel.visibility.extend()
            turn_until(hub, lambda noted=noted: consumer.noted.extensions == noted, 'as noted')
            proxy.fail(CHANGE, faulty.status(500, 'Internal'))
        proxy.repair()
        consumer.acknowledge()


@pytest.mark.parametrize('is_acked', [False, True], ids=['held', 'acked'])
def test_only_a_message_that_is_still_held_can_fail_to_be_extended(
    scene: Scene, hub: Hub, proxy: FaultySqs, is_acked: bool
) -> None:
    may_answer = threading.Event()

    def expired(handler: faulty.Handler) -> None:
        may_answer.wait()
        entries = [entry['Id'] for entry in json.loads(handler.body)['Entries']]
        failed = [
            {'Id': each, 'Code': 'ReceiptHandleIsInvalid', 'SenderFault': True} for each in entries
        ]
        handler.answer(200, json.dumps({'Successful': [], 'Failed': failed}).encode())

    proxy.fail(CHANGE, expired)
    app = scene.app(proxy.url, visibility_timeout=6)
    app.send_task('work')
    try:
        with consuming(app, hub, scene.work) as consumer:
            consumer.wait_for(1)
            turn_until(hub, lambda: proxy.requests[CHANGE], 'an extension is asked')
            if is_acked:
                consumer.acknowledge()
                turn_until(hub, lambda: consumer.noted.deletes, 'it is deleted')
            may_answer.set()
            turn_until(hub, lambda: consumer.noted.extensions, 'the extension is answered')
            assert consumer.noted.extensions[0] == ((0, 0) if is_acked else (0, 1))
            consumer.acknowledge()
    finally:
        may_answer.set()
