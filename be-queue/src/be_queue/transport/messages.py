"""The parts of a message that SQS looks at: its size, its ids on FIFO queues, and its copies."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from typing import Any

from botocore.exceptions import ClientError

from be_queue.transport.sqs_errors import is_denied

__all__ = [
    'BATCH_BYTES',
    'attributes_size',
    'copy_of',
    'deduplication_id',
    'envelope_of',
    'group_id',
    'limit_of',
    'with_copied_attributes',
]

#: Bytes of the largest message that any queue takes.
MAX_BYTES = 1024 * 1024
#: Bytes of one SendMessageBatch that every server takes; AWS takes more since 2025.
BATCH_BYTES = 256 * 1024
#: SQS takes up to 128 letters, digits and punctuation marks of ASCII as an id or group.
LEGAL = re.compile(r'[!-~]{1,128}')

#: MaximumMessageSize by queue URL, read once in each process.
_limits: dict[str, int] = {}


def limit_of(client: Any, url: str, size: int) -> int:
    """Return the MaximumMessageSize of a queue in bytes; `MAX_BYTES` where SQS does not say it.

    It is read again for a message larger than the last one read: it may have been raised.
    Raises what boto3 raises when SQS does not answer.
    """
    if size > _limits.get(url, -1):
        limit = MAX_BYTES
        try:
            found = client.get_queue_attributes(QueueUrl=url, AttributeNames=['MaximumMessageSize'])
            limit = int(found.get('Attributes', {}).get('MaximumMessageSize', limit))
        except ClientError as error:
            if not is_denied(error):
                return limit  # the next request may succeed
        _limits[url] = limit
    return _limits[url]


def attributes_size(attributes: dict[str, dict[str, Any]]) -> int:
    """Return the bytes that message attributes count: names, types and values."""
    return sum(
        len(name.encode())
        + len(value.get('DataType', '').encode())
        + len(value.get('StringValue', '').encode())
        + len(value.get('BinaryValue', b''))
        for name, value in attributes.items()
    )


def group_id(message: dict[str, Any], is_copy: bool) -> str:
    """Return the group of a message on a FIFO queue, within which SQS keeps the order.

    It is the sender's ``MessageGroupId``, if given. By default it is the task's name on a work
    queue, for one order of all its calls, and the task's id on a queue that gets copies, so that
    copies of different tasks do not wait for one another.
    """
    given = message['properties'].get('MessageGroupId')
    if given:
        return str(given)
    found = _task_id(message) if is_copy else message['headers'].get('task')
    return _legal(str(found or 'default'))  # as in kombu


def deduplication_id(message: dict[str, Any]) -> str:
    """Return the id of a message; for five minutes SQS takes no second one with the same.

    It is the sender's ``MessageDeduplicationId``, if given. By default it is made of the task's id,
    its number of retries, and a digest of the call. So a request that is sent again, and a task
    sent again by a worker that ran its parent twice, arrive once. Other messages with the same id
    arrive too: a retry, the task that replaces another, the body of a chord that replaces a task.

    The digest leaves out the ETA: a worker that retries a task twice has computed two times.
    """
    given = message['properties'].get('MessageDeduplicationId')
    if given:
        return str(given)
    task_id = _task_id(message)
    if not task_id:
        return str(uuid.uuid4())
    headers = message['headers']
    nesting = headers.get('replaced_task_nesting') or 0
    digest = _digest(f'{headers.get("task")} {nesting} {message["body"]}')[:16]
    return _legal(f'{task_id}:{headers.get("retries") or 0}:{digest}')


def envelope_of(body: str) -> dict[str, Any]:
    """Return kombu's envelope from the body of a message on SQS. Raises `ValueError`."""
    # kombu's default, unlike ours, encodes the whole envelope.
    text = body if body.lstrip().startswith('{') else base64.b64decode(body, validate=True)
    envelope = json.loads(text)
    if not isinstance(envelope, dict):
        raise ValueError(f'the body must be an object in JSON, not a {type(envelope).__name__}')
    return envelope


def copy_of(message: dict[str, Any], delay: int | None = None) -> dict[str, Any]:
    """Return what SendMessage takes for a copy: the same body and attributes, byte for byte.

    Arguments:
        message: as SQS returned it.
        delay: seconds, at most 900; None is the queue's own. FIFO queues take no other.
    """
    copy = {'MessageBody': message['Body']}
    if delay is not None:
        copy['DelaySeconds'] = delay
    if attributes := message.get('MessageAttributes'):
        # SQS returns empty lists with them, and accepts none.
        copy['MessageAttributes'] = {
            name: {key: part for key, part in value.items() if not key.endswith('ListValues')}
            for name, value in attributes.items()
        }
    system = message.get('Attributes') or {}
    if 'MessageGroupId' in system:  # SQS is fair between groups
        copy['MessageGroupId'] = system['MessageGroupId']
    if 'AWSTraceHeader' in system:
        trace = {'DataType': 'String', 'StringValue': system['AWSTraceHeader']}
        copy['MessageSystemAttributes'] = {'AWSTraceHeader': trace}
    return copy


def with_copied_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes to receive, as ReceiveMessage takes them: also those of a copy."""
    system = attributes.get('MessageSystemAttributeNames') or []
    return attributes | {
        'MessageAttributeNames': ['All'],
        'MessageSystemAttributeNames': sorted({*system, 'AWSTraceHeader', 'MessageGroupId'}),
    }


def _task_id(message: dict[str, Any]) -> str:
    # Task protocol 1 has no headers.
    found = message['headers'].get('id') or message['properties'].get('correlation_id')
    return str(found or '')


def _legal(text: str) -> str:
    return text if LEGAL.fullmatch(text) else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()
