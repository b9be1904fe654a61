"""Watches a channel: subclass it for metrics. This library has none of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from be_queue.transport.sqs_errors import status_of, status_of_answer

__all__ = ['Observer', 'watch_requests']


class Observer:
    """No-op base class for a channel's ``observer``: override what you need.

    Methods run in the event loop, and in a thread once that has ended: be fast and never raise.
    ``queue`` is the queue's name in kombu.
    """

    def requested(self, operation: str, status: str, seconds: float) -> None:
        """A request to SQS ended.

        Arguments:
            operation: SQS's name for it, such as ``SendMessageBatch``.
            status: one of `be_queue.transport.sqs_errors.STATUSES`.
            seconds: how long it took, the wait of a long poll included.
        """

    def received(self, queue: str, count: int) -> None:
        """A receive returned ``count`` messages, possibly none."""

    def receive_failed(self, queue: str) -> None:
        """A receive failed."""

    def deleted(self, queue: str, asked: int, delays: Sequence[float]) -> None:
        """SQS answered a request to delete ``asked`` messages.

        Arguments:
            delays: for each deleted message the seconds since its ack.
        """

    def extended(self, queue: str, count: int, failed: int) -> None:
        """SQS extended the visibility timeout of ``count`` messages, and failed for ``failed``."""

    def released(self, queue: str, count: int) -> None:
        """Messages were handed back: they are visible at once."""


#: Key of a request's context in botocore: when it began.
BEGAN_AT = 'be_queue_began_at'


def watch_requests(client: Any, observer: Observer) -> None:
    """Have ``observer`` told of each request of a boto3 client, repeated ones included."""

    def created(request: Any, **_: Any) -> None:
        request.context[BEGAN_AT] = time.monotonic()

    def ended(event_name: str, context: Any, exception: Any, **given: Any) -> None:
        if exception is not None:
            status = status_of(exception)
        else:
            answer = given['parsed_response']
            code = answer.get('Error', {}).get('Code', '')
            http_status = answer.get('ResponseMetadata', {}).get('HTTPStatusCode', 200)
            status = status_of_answer(http_status, code)
        now = time.monotonic()
        operation = event_name.rpartition('.')[2]
        observer.requested(operation, status, now - context.pop(BEGAN_AT, now))

    def failed(event_name: str, exception: Any, **_: Any) -> None:
        # Without credentials a request is not sent, and `ended` is not told.
        if status_of(exception) == 'denied':
            observer.requested(event_name.rpartition('.')[2], 'denied', 0.0)

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f'request-created.{service}', created)
    client.meta.events.register(f'response-received.{service}', ended)
    client.meta.events.register(f'after-call-error.{service}', failed)
