"""Fills a queue fast, with copies of one message that the contender itself has sent."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from benchmarks.contenders import BenchmarkError
from benchmarks.memory import Backlog
from benchmarks.servers import Broker
from tests.support.redis import RedisServer

__all__ = ['copies', 'fill', 'unsettled']

#: Messages of one SendMessageBatch.
BATCH = 10


def fill(broker: Broker, queue: str, count: int) -> None:
    """Turn the one message of the queue into ``count`` tasks with ids of their own."""
    if isinstance(broker.server, Backlog):
        (message,) = broker.server.read()
        broker.server.clear()
        broker.server.add(*copies(message, count))
    elif isinstance(broker.server, RedisServer):
        _fill_redis(broker.server, queue, count)
    else:
        _fill_sqs(broker.server, queue, count)


def unsettled(broker: Broker, queue: str) -> int:
    """Return how many messages are in the queue or held by a worker."""
    if isinstance(broker.server, Backlog):
        return 0  # there is nothing to delete
    if isinstance(broker.server, RedisServer):
        client = broker.server.client()
        return int(client.llen(queue) + client.hlen('unacked'))
    return broker.server.visible(queue) + broker.server.in_flight(queue)


def copies(text: str, count: int) -> Iterator[str]:
    """Return a message's body with other task ids and delivery tags, ``count`` times.

    Arguments:
        text: what is on the broker: kombu's JSON, or that in base64.
    """
    encoded = not text.lstrip().startswith('{')
    plain = base64.b64decode(text).decode() if encoded else text
    message = json.loads(plain)
    try:
        old = [message['headers']['id'], message['properties']['delivery_tag']]
    except KeyError as error:
        raise BenchmarkError(f'a message without {error} cannot be copied: {plain}') from error
    for _ in range(count):
        copy = plain
        for name in old:
            copy = copy.replace(name, str(uuid.uuid4()))
        yield base64.b64encode(copy.encode()).decode() if encoded else copy


def _fill_redis(server: RedisServer, queue: str, count: int) -> None:
    client = server.client()
    text = client.rpop(queue)
    if text is None:
        raise BenchmarkError(f'Redis list {queue} is empty: there is nothing to copy')
    client.lpush(queue, *copies(text.decode(), count))


def _fill_sqs(server: SqsServer, queue: str, count: int) -> None:
    client = server.client()
    url = client.get_queue_url(QueueName=queue)['QueueUrl']
    messages = client.receive_message(
        QueueUrl=url, MessageAttributeNames=['All'], WaitTimeSeconds=5
    ).get('Messages')
    if not messages:
        raise BenchmarkError(f'SQS queue {queue} is empty: there is nothing to copy')
    client.delete_message(QueueUrl=url, ReceiptHandle=messages[0]['ReceiptHandle'])
    attributes = messages[0].get('MessageAttributes') or {}
    entries: list[dict[str, Any]] = []
    for number, body in enumerate(copies(messages[0]['Body'], count), 1):
        entry = {'Id': str(number), 'MessageBody': body}
        entries.append(entry | ({'MessageAttributes': attributes} if attributes else {}))
        if len(entries) == BATCH or number == count:
            refused = client.send_message_batch(QueueUrl=url, Entries=entries).get('Failed')
            if refused:
                raise BenchmarkError(f'SQS queue {queue} refused a message: {refused[0]}')
            entries = []
    wait_until(lambda: server.visible(queue) == count, f'{count} messages are in queue {queue}')
