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
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.httpsession import get_cert_path
from kombu.asynchronous.http import Request
from kombu.asynchronous.http.curl import CurlClient

from be_queue.transport.credentials import renew
from be_queue.transport.observer import Observer
from be_queue.transport.sqs_errors import EXPIRED, code_of, status_of

__all__ = ['ANSWER_TIMEOUT', 'BATCH_SIZE', 'MAX_REQUESTS', 'OnError', 'OnSuccess', 'Requests']

#: Messages in one batch request, a limit of SQS.
BATCH_SIZE = 10
#: Seconds to reach the server, and to get an answer beyond the time that a long poll takes.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
#: Requests in flight at a time; each is given one of as many handles, 4 KiB of memory.
MAX_REQUESTS = 100
#: The same for receives: each queue has a long poll. A process may open 1024 files by default.
MAX_LONG_POLLS = 500
#: Errors of curl after which the server has had no request.
NOT_REACHED = (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_SSL_CONNECT_ERROR)

OnSuccess = Callable[[dict[str, Any]], object]
OnError = Callable[[Exception], object]


class HttpClient(CurlClient):
    """kombu's, without its timers: the owner calls `check` before the event loop sleeps.

    kombu takes curl's milliseconds for seconds, and leaves a timer behind for each request. Its
    event loop fires ten timers a turn, then sleeps: some hundred requests that fail together, when
    SQS is unavailable, would keep the worker from trying again for a minute.
    """

    check_at = float('inf')

    def _set_timeout(self, msecs: int) -> None:
        """Let curl check its transfers in so many milliseconds; -1 is never."""
        self.check_at = float('inf') if msecs < 0 else time.monotonic() + msecs / 1000

    def check(self) -> None:
        """Let curl begin and time out transfers."""
        while self.check_at <= time.monotonic() and not self._closed:
            self.check_at = float('inf')
            self._timeout_check()


class Requests:
    """Sends the requests of a channel: from the event loop while it runs, else by boto3.

    ``client_for`` returns the boto3 client for a queue, with credentials, region and address. It is
    called for each request: the client of an STS role is replaced when its session ends.
    """

    def __init__(self, hub: Any, client_for: Callable[[str], Any], observer: Observer) -> None:
        #: Whether the event loop runs. If not, `call` waits for the answer.
        self.in_loop = False
        #: Requests without an answer yet, by operation.
        self.in_flight: Counter[str] = Counter()
        self._hub = hub
        self._client_for = client_for
        self._observer = observer
        #: By the most requests in flight.
        self._http_clients: dict[int, HttpClient] = {}

    @property
    def awaited(self) -> int:
        """Requests without an answer yet, but for deletes: they can be repeated."""
        return self.in_flight.total() - self.in_flight['DeleteMessageBatch']

    def check(self) -> None:
        """Begin the new requests: to be called before the event loop sleeps."""
        now = time.monotonic()
        for client in list(self._http_clients.values()):
            if client.check_at <= now:
                client.check()

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
            operation, params: as in the SQS API reference.
            on_error: gets an error of botocore, or of the source of credentials.
            long_poll: seconds for which SQS may wait for a message.
            once: never let SQS do it twice, at the price of a new connection.
        """
        if not self.in_loop:
            try:
                answer = getattr(self._client_for(queue), xform_name(operation))(**params)
            except Exception as error:  # noqa: BLE001  (a source of credentials may raise anything)
                on_error(error)
            else:
                on_success(answer)
            return
        try:
            client = self._client_for(queue)
            signed = _signed(client, operation, params)
        except Exception as error:  # noqa: BLE001
            self._observer.requested(operation, status_of(error), 0.0)
            on_error(error)
            return

        began_at = time.monotonic()
        self.in_flight[operation] += 1

        def ended(response: Any) -> None:
            self.in_flight[operation] -= 1
            seconds = time.monotonic() - began_at
            answer = _answer(operation, signed.url, response)
            if not isinstance(answer, Exception):
                self._observer.requested(operation, 'ok', seconds)
                on_success(answer)
                return
            self._observer.requested(operation, status_of(answer), seconds)
            if code_of(answer) in EXPIRED:
                renew(client)  # for the next request
            on_error(answer)

        # Receives have a client of their own: a delete must not wait for a long poll to end.
        limit = MAX_LONG_POLLS if operation == 'ReceiveMessage' else MAX_REQUESTS
        self._http_client(limit).add_request(
            Request(
                signed.url,
                method=signed.method,
                headers=dict(signed.headers.items()),
                body=signed.body,
                ca_certs=get_cert_path(True),
                on_prepare=partial(_prepare, timeout=long_poll + ANSWER_TIMEOUT, once=once),
                on_ready=ended,
            )
        )

    def _http_client(self, limit: int) -> HttpClient:
        client = self._http_clients.get(limit)
        if client is None or client._closed:
            client = self._http_clients[limit] = HttpClient(self._hub, limit)
        return client


def _prepare(curl: Any, timeout: float, once: bool) -> None:
    """Set the time-outs, of which kombu sets none."""
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(CONNECT_TIMEOUT * 1000))
    curl.setopt(pycurl.TIMEOUT_MS, int(timeout * 1000))
    # On a used connection curl repeats a request that gets no answer.
    curl.setopt(pycurl.FRESH_CONNECT, once)


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


def _answer(operation: str, url: str, response: Any) -> Any:
    """Return SQS's answer, or the error of botocore that stands for what came."""
    errno = getattr(response.error, 'errno', None)  # curl's: there is no answer
    if errno is not None:
        if errno == pycurl.E_OPERATION_TIMEDOUT:
            return ReadTimeoutError(endpoint_url=url, error=response.error)
        if errno in NOT_REACHED:
            return EndpointConnectionError(endpoint_url=url, error=response.error)
        return ConnectionClosedError(endpoint_url=url, error=response.error)
    text = response.body or b'{}'
    try:
        answer = json.loads(text)
        code = str(answer.get('__type', '')).rpartition('#')[2]
        message = str(answer.get('message') or answer.get('Message') or '')
    except (ValueError, AttributeError):  # such as the login page of a proxy
        code, message = 'NotJson', f'the answer is not JSON: {text[:200]!r}'
    else:
        if response.code == 200:
            return answer
    return ClientError(
        {
            'Error': {'Code': code, 'Message': message},
            'ResponseMetadata': {'HTTPStatusCode': response.code},
        },
        operation,
    )
