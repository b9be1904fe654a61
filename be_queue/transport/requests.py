"""Requests to SQS from the event loop: each has a time-out, and each has an outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pycurl
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from kombu.asynchronous.http import Request, get_client

from be_queue.errors import BeQueueError

__all__ = ['CONNECT_TIMEOUT', 'AsyncSqs', 'RequestError']

#: Seconds to reach the server, and to get an answer after the time that it may take by itself.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
#: Requests in flight at a time: a long poll a queue, and deletes beside them.
MAX_REQUESTS = 100

OnSuccess = Callable[[dict[str, Any]], object]
OnError = Callable[[Exception], object]


class RequestError(BeQueueError):
    """SQS did not do what it was asked.

    Arguments:
        operation: what it was asked for.
        status: HTTP status; 599 when no answer came.
        code: SQS's name for the fault, or '' when no answer came.
        message: its words, or curl's.
    """

    def __init__(self, operation: str, status: int, code: str, message: str) -> None:
        super().__init__(f'{operation}: status={status} code={code or None} {message}')
        self.status = status
        self.code = code


class AsyncSqs:
    """Asks SQS with the login, region and address of a boto3 client.

    Arguments:
        hub: the event loop.
        client: signs the requests; renews credentials that expire.
    """

    def __init__(self, hub: Any, client: Any) -> None:
        self._client = client
        self._http = get_client(hub, max_clients=MAX_REQUESTS)

    def call(
        self,
        operation: str,
        params: dict[str, Any],
        on_success: OnSuccess,
        on_error: OnError,
        takes: float = 0.0,
    ) -> None:
        """Send a request; one of the two functions is called in the end, whatever happens.

        Arguments:
            params: as in the SQS API reference.
            on_success: gets the answer.
            on_error: gets a `RequestError`, or what kept the request from being signed.
            takes: seconds that the server may take by itself, as for a long poll.
        """
        try:
            signed = self._signed(operation, params)
        except (BotoCoreError, OSError) as error:  # no credentials to be had just now
            on_error(error)
            return
        timeout = takes + ANSWER_TIMEOUT
        self._http.add_request(
            Request(
                signed.url,
                method=signed.method,
                headers=dict(signed.headers.items()),
                body=signed.body,
                ca_certs=get_cert_path(True),
                on_prepare=partial(_limit, timeout=timeout),
                on_ready=partial(_answered, operation, on_success, on_error),
            )
        )

    def _signed(self, operation: str, params: dict[str, Any]) -> Any:
        meta = self._client.meta.service_model.metadata
        request = AWSRequest(
            method='POST',
            url=self._client.meta.endpoint_url,
            data=json.dumps(params).encode(),
            headers={
                'Content-Type': f'application/x-amz-json-{meta["jsonVersion"]}',
                'X-Amz-Target': f'{meta["targetPrefix"]}.{operation}',
            },
        )
        self._client._request_signer.sign(operation, request)
        return request.prepare()


def _limit(curl: Any, timeout: float) -> None:
    # kombu's client sets no time-out at all: a connection that died in silence is waited for
    # forever. The handle is used again, for requests with other limits.
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(CONNECT_TIMEOUT * 1000))
    curl.setopt(pycurl.TIMEOUT_MS, int(timeout * 1000))


def _answered(operation: str, on_success: OnSuccess, on_error: OnError, response: Any) -> None:
    if response.error is not None and response.code == 599:
        on_error(RequestError(operation, response.code, '', str(response.error.message)))
        return
    text = response.body or b''
    try:
        answer = json.loads(text or b'{}')
        if not isinstance(answer, dict):
            raise ValueError('not an object')
    except ValueError as error:
        cause = f'the answer is not JSON: {error}: {text[:200]!r}'
        on_error(RequestError(operation, response.code, '', cause))
        return
    if response.code == 200:
        on_success(answer)
    else:
        code = str(answer.get('__type', '')).rpartition('#')[2]
        message = str(answer.get('message') or answer.get('Message') or '')
        on_error(RequestError(operation, response.code, code, message))
