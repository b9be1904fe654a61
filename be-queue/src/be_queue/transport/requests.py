"""Requests to SQS: each has a time-out, and each ends in one callback."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pycurl
from botocore import xform_name
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path
from kombu.asynchronous.http import Request

from be_queue.transport.credentials import renew
from be_queue.transport.http_client import MAX_LONG_POLLS, MAX_REQUESTS, client_of, set_timeouts
from be_queue.transport.observer import Observer
from be_queue.transport.sqs_errors import EXPIRED, NO_ANSWER, RequestError, status_of

__all__ = ['ANSWER_TIMEOUT', 'BATCH_SIZE', 'OnError', 'OnSuccess', 'Requests']

#: Messages in one batch request, a limit of SQS.
BATCH_SIZE = 10
#: Seconds to reach the server, and to get an answer beyond the time that a long poll takes.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
#: Errors of curl after which the server has had no request.
NOT_REACHED = (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_SSL_CONNECT_ERROR)

OnSuccess = Callable[[dict[str, Any]], object]
OnError = Callable[[Exception], object]


class Requests:
    """Sends the requests of a channel: from the event loop while it runs, else by boto3.

    Arguments:
        hub: the event loop.
        client_for: returns the boto3 client for a queue, with credentials, region and address. It
            is called for each request: the client of an STS role is replaced when its session ends.
        observer: is told of each request.
    """

    def __init__(self, hub: Any, client_for: Callable[[str], Any], observer: Observer) -> None:
        #: Whether the event loop runs. If not, `call` waits for the answer.
        self.in_loop = False
        #: Requests without an answer yet, by operation.
        self.in_flight: Counter[str] = Counter()
        self._hub = hub
        self._client_for = client_for
        self._observer = observer

    @property
    def awaited(self) -> int:
        """Requests without an answer yet, but for deletes: they can be repeated."""
        return sum(self.in_flight.values()) - self.in_flight['DeleteMessageBatch']

    def call(
        self,
        queue: str,
        operation: str,
        params: dict[str, Any],
        on_success: OnSuccess,
        on_error: OnError,
        long_poll: float = 0.0,
        once: bool = False,
    ) -> None:
        """Send a request; one of the two functions is called when it has ended.

        Arguments:
            queue: the queue's name in kombu.
            operation, params: as in the SQS API reference.
            on_success: gets the answer.
            on_error: gets a `RequestError`, what boto3 raised, or why the request was not signed.
            long_poll: seconds for which SQS may wait for a message.
            once: never let SQS do it twice, at the price of a new connection.
        """
        if not self.in_loop:
            self._call_boto(queue, operation, params, on_success, on_error)
            return
        try:
            client = self._client_for(queue)
            signed = _signed(client, operation, params)
        except Exception as error:  # noqa: BLE001  (a source of credentials may raise anything)
            self._observer.requested(operation, status_of(error), 0.0)
            on_error(error)
            return

        began_at = time.monotonic()
        self.in_flight[operation] += 1

        def succeeded(answer: dict[str, Any]) -> None:
            self.in_flight[operation] -= 1
            self._observer.requested(operation, 'ok', time.monotonic() - began_at)
            on_success(answer)

        def failed(error: RequestError) -> None:
            self.in_flight[operation] -= 1
            self._observer.requested(operation, status_of(error), time.monotonic() - began_at)
            if error.code in EXPIRED:
                renew(client)  # for the next request
            on_error(error)

        timeouts = partial(
            set_timeouts, connect=CONNECT_TIMEOUT, total=long_poll + ANSWER_TIMEOUT, once=once
        )
        # Receives have a client of their own: a delete must not wait for a long poll to end.
        receives = operation == 'ReceiveMessage'
        client_of(self._hub, MAX_LONG_POLLS if receives else MAX_REQUESTS).add_request(
            Request(
                signed.url,
                method=signed.method,
                headers=dict(signed.headers.items()),
                body=signed.body,
                ca_certs=get_cert_path(True),
                on_prepare=timeouts,
                on_ready=partial(_answered, operation, succeeded, failed),
            )
        )

    def _call_boto(
        self,
        queue: str,
        operation: str,
        params: dict[str, Any],
        on_success: OnSuccess,
        on_error: OnError,
    ) -> None:
        try:
            request = getattr(self._client_for(queue), xform_name(operation))
            answer = request(**params)
        except Exception as error:  # noqa: BLE001  (a source of credentials may raise anything)
            on_error(error)
        else:
            on_success(answer)


def _signed(client: Any, operation: str, params: dict[str, Any]) -> Any:
    meta = client.meta.service_model.metadata
    request = AWSRequest(
        method='POST',
        url=client.meta.endpoint_url,
        data=json.dumps(params).encode(),
        headers={
            'Content-Type': f'application/x-amz-json-{meta["jsonVersion"]}',
            'X-Amz-Target': f'{meta["targetPrefix"]}.{operation}',
        },
    )
    client._request_signer.sign(operation, request)
    return request.prepare()


def _answered(
    operation: str, on_success: OnSuccess, on_error: Callable[[RequestError], object], response: Any
) -> None:
    if response.error is not None and response.code == NO_ANSWER:
        errno = response.error.errno
        on_error(
            RequestError(
                operation,
                NO_ANSWER,
                '',
                str(response.error.message),
                maybe_done=errno not in NOT_REACHED,
                timed_out=errno == pycurl.E_OPERATION_TIMEDOUT,
            )
        )
        return
    text = response.body or b''
    try:
        answer = json.loads(text or b'{}')
        if not isinstance(answer, dict):
            raise ValueError('not an object')
    except ValueError as error:
        cause = f'the answer is not JSON: {error}: {text[:200]!r}'
        on_error(RequestError(operation, response.code, '', cause, response.code == 200))
        return
    if response.code == 200:
        on_success(answer)
    else:
        code = str(answer.get('__type', '')).rpartition('#')[2]
        message = str(answer.get('message') or answer.get('Message') or '')
        on_error(RequestError(operation, response.code, code, message))
