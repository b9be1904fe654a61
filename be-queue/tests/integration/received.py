"""Reads a queue as any other consumer would, without Celery."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from be_queue.testing.sqs import SqsServer


@dataclass(frozen=True)
class Received:
    """A task as its message on SQS has it."""

    task: str
    task_id: str
    args: list[Any]


def received(sqs: SqsServer, queue: str) -> list[Received]:
    """Receive and delete every message of the queue, oldest first."""
    client = sqs.client()
    url = client.get_queue_url(QueueName=queue)['QueueUrl']
    tasks = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get('Messages'):
        for message in messages:
            tasks.append(_decoded(message['Body']))
            client.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])
    return tasks


def _decoded(body: str) -> Received:
    message = json.loads(_text(body))
    args, _, _ = json.loads(_text(message['body']))
    return Received(message['headers']['task'], message['headers']['id'], args)


def _text(body: str) -> str:
    """Return what a body says: kombu's own transport writes base64, ours writes JSON."""
    return body if body.startswith(('{', '[')) else base64.b64decode(body).decode()
