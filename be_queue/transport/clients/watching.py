"""Tells an observer of each request of a boto3 client, those that botocore sends again as well."""

from __future__ import annotations

import time
from typing import Any

from be_queue.transport.clients.sqs_errors import status_of, status_of_answer
from be_queue.transport.observer import Observer

__all__ = ['watch']

#: Where a request's context keeps when it was made, and the error of the last try if there was one.
BEGAN_AT = 'be_queue_began_at'
TOLD = 'be_queue_told'


def watch(client: Any, observer: Observer) -> None:
    """Have ``observer`` told of the requests of a boto3 client."""

    def created(request: Any, **_: Any) -> None:
        request.context[BEGAN_AT] = time.monotonic()

    def received(
        event_name: str, context: Any, exception: Any, parsed_response: Any, **_: Any
    ) -> None:
        now = time.monotonic()
        context[TOLD] = exception
        if exception is not None:
            status = status_of(exception)
        else:
            code = parsed_response.get('Error', {}).get('Code', '')
            http_status = parsed_response.get('ResponseMetadata', {}).get('HTTPStatusCode', 200)
            status = status_of_answer(http_status, code)
        observer.requested(event_name.rpartition('.')[2], status, now - context.pop(BEGAN_AT, now))

    def failed(event_name: str, context: Any, exception: Any, **_: Any) -> None:
        # Told already, but for a request that was not sent: without credentials none is signed.
        if context.pop(TOLD, None) is not exception:
            now = time.monotonic()
            took = now - context.pop(BEGAN_AT, now)
            observer.requested(event_name.rpartition('.')[2], status_of(exception), took)

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f'request-created.{service}', created)
    client.meta.events.register(f'response-received.{service}', received)
    client.meta.events.register(f'after-call-error.{service}', failed)
