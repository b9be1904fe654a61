"""How large a message may be, and how large it is."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

__all__ = ['MAX_BYTES', 'attributes_size', 'limit_of', 'read_limit']

#: Bytes of the largest message that any queue takes.
MAX_BYTES = 1024 * 1024

#: MaximumMessageSize by queue URL, asked for once a process.
_known: dict[str, int] = {}


def limit_of(client: Any, url: str) -> int:
    """Return the MaximumMessageSize of a queue, in bytes, as last read.

    Arguments:
        client: the boto3 client for the queue.
        url: the queue's URL.
    """
    known = _known.get(url)
    return read_limit(client, url) if known is None else known


def read_limit(client: Any, url: str) -> int:
    """Read the MaximumMessageSize of a queue; `MAX_BYTES` where SQS does not say it.

    Raises what boto3 raises when SQS does not answer.
    """
    try:
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=['MaximumMessageSize'])
        limit = int(answer.get('Attributes', {}).get('MaximumMessageSize', MAX_BYTES))
    except ClientError as error:
        status = error.response.get('ResponseMetadata', {}).get('HTTPStatusCode', 0)
        if status >= 500:  # the next request may succeed
            return MAX_BYTES
        limit = MAX_BYTES  # these credentials may send but not ask
    _known[url] = limit
    return limit


def attributes_size(attributes: dict[str, dict[str, Any]]) -> int:
    """Return the bytes that message attributes count: names, types and values."""
    return sum(
        len(name.encode())
        + len(value.get('DataType', '').encode())
        + len(value.get('StringValue', '').encode())
        + len(value.get('BinaryValue', b''))
        for name, value in attributes.items()
    )
