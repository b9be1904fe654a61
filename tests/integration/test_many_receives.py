"""More receives that wait on SQS than a worker may have of other requests."""

from __future__ import annotations

from typing import Any

from kombu.asynchronous import Hub

from be_queue.transport.http_client import MAX_REQUESTS
from be_queue.transport.observer import Observer
from tests.integration.scene import Scene
from tests.support import faulty
from tests.support.faulty import FaultySqs
from tests.support.loop import requests_in_loop, turn_until

#: Seconds that SQS may take for a receive: longer than the test waits for anything.
LONG = 600


def test_long_polls_of_many_queues_keep_no_delete_waiting(
    scene: Scene, proxy: FaultySqs, hub: Hub
) -> None:
    app = scene.app(proxy.url)
    scene.declare(app)
    url = scene.url(scene.work)
    ended: list[Any] = []
    deleted: list[Any] = []
    with app.connection_for_read() as connection:
        requests = requests_in_loop(
            hub, connection.default_channel.blocking_sqs(scene.work), Observer()
        )
        proxy.fail('ReceiveMessage', faulty.no_answer)
        for _ in range(MAX_REQUESTS + 1):
            requests.call('', 'ReceiveMessage', {'QueueUrl': url}, ended.append, ended.append, LONG)
        turn_until(
            hub, lambda: proxy.requests['ReceiveMessage'] >= MAX_REQUESTS, 'they wait on SQS'
        )
        entries = [{'Id': '0', 'ReceiptHandle': 'unknown'}]
        requests.call(
            '',
            'DeleteMessageBatch',
            {'QueueUrl': url, 'Entries': entries},
            deleted.append,
            deleted.append,
        )
        turn_until(hub, lambda: deleted, 'the delete is answered')
        turn_until(
            hub, lambda: proxy.requests['ReceiveMessage'] > MAX_REQUESTS, 'no queue is left out'
        )
        assert not ended
