"""Requests to SQS from the event loop: each has a time-out, and each has an outcome."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pycurl
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path
from kombu.asynchronous.http import Request

from be_queue.errors import BeQueueError
from be_queue.transport.clients.credentials import EXPIRED, renew
from be_queue.transport.clients.http import MAX_LONG_POLLS, client_of, limit
from be_queue.transport.clients.sqs_errors import NO_ANSWER, status_of
from be_queue.transport.observer import Observer

__all__ = ['CONNECT_TIMEOUT', 'AsyncSqs', 'RequestError']

#: Seconds to reach the server, and to get an answer after the time that it may take by itself.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
#: Errors of curl after which the server has had no request.
NOT_REACHED = (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_SSL_CONNECT_ERROR)

OnSuccess = Callable[[dict[str, Any]], object]
OnError = Callable[[Exception], object]


class RequestError(BeQueueError):
    """SQS did not do what it was asked.

    Arguments:
        operation: what it was asked for.
        status: HTTP status; 599 when no answer came.
        code: SQS's name for the fault, or '' when no answer came.
        message: its words, or curl's.
        maybe_done: it may have done it all the same.
        timed_out: it took too long.
    """

    def __init__(
        self,
        operation: str,
        status: int,
        code: str,
        message: str,
        maybe_done: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(f'{operation}: status={status} code={code or None} {message}')
        self.status = status
        self.code = code
        self.maybe_done = maybe_done
        self.timed_out = timed_out


class AsyncSqs:
    """Asks SQS with the login, region and address of a boto3 client.

    Arguments:
        hub: the event loop.
        client: returns the boto3 client, which signs the requests. Asked for each, since the
            client of an STS role is replaced when its session ends.
        observer: is told of each.
    """

    def __init__(self, hub: Any, client: Callable[[], Any], observer: Observer) -> None:
        self._client = client
        self._observer = observer
        self._http = client_of(hub)
        # Its own: a delete must not wait for a long poll to end.
        self._receives = client_of(hub, 'receives from SQS', MAX_LONG_POLLS)

    def call(
        self,
        operation: str,
        params: dict[str, Any],
        on_success: OnSuccess,
        on_error: OnError,
        takes: float = 0.0,
        once: bool = False,
    ) -> None:
        """Send a request; one of the two functions is called in the end, whatever happens.

        Arguments:
            params: as in the SQS API reference.
            on_success: gets the answer.
            on_error: gets a `RequestError`, or what kept the request from being signed.
            takes: seconds that the server may take by itself, as for a long poll.
            once: never have SQS do it twice, at the price of a new connection.
        """
        try:
            client = self._client()
            signed = _signed(client, operation, params)
        except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
            self._observer.requested(operation, status_of(error), 0.0)
            on_error(error)
            return

        began_at = time.monotonic()

        def succeeded(answer: dict[str, Any]) -> None:
            self._observer.requested(operation, 'ok', time.monotonic() - began_at)
            on_success(answer)

        def failed(error: Exception) -> None:
            self._observer.requested(operation, status_of(error), time.monotonic() - began_at)
            if isinstance(error, RequestError) and error.code in EXPIRED:
                renew(client)  # for the next try
            on_error(error)

        timeout = takes + ANSWER_TIMEOUT
        http = self._receives if operation == 'ReceiveMessage' else self._http
        http.add_request(
            Request(
                signed.url,
                method=signed.method,
                headers=dict(signed.headers.items()),
                body=signed.body,
                ca_certs=get_cert_path(True),
                on_prepare=partial(limit, connect=CONNECT_TIMEOUT, total=timeout, once=once),
                on_ready=partial(_answered, operation, succeeded, failed),
            )
        )


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


def _answered(operation: str, on_success: OnSuccess, on_error: OnError, response: Any) -> None:
    if response.error is not None and response.code == NO_ANSWER:
        number = response.error.errno
        on_error(
            RequestError(
                operation,
                NO_ANSWER,
                '',
                str(response.error.message),
                maybe_done=number not in NOT_REACHED,
                timed_out=number == pycurl.E_OPERATION_TIMEDOUT,
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
