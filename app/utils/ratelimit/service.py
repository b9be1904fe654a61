"""Limits that a service keeps, asked over HTTP from the event loop."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pycurl
from botocore.httpsession import get_cert_path
from kombu.asynchronous.http import Request

from app.utils.ratelimit.limiter import Fault, Grant, LimiterError, OnError, OnGrant
from app.utils.ratelimit.protocol import HEADERS, Reply, question, read
from be_queue.transport.clients.http import limit

__all__ = ['Service']


class Service:
    """The limit of one queue.

    Arguments:
        http: a client of the event loop's.
        url: where requests go.
        domain, name: tell the limit from others.
        timeout: seconds for each request.
    """

    def __init__(self, http: Any, url: str, domain: str, name: str, timeout: float) -> None:
        self._http = http
        self._url = url
        self._domain = domain
        self._name = name
        self._timeout = timeout
        #: The last answer, and when its window ends, by the monotonic clock.
        self._last: Reply | None = None
        self._ends_at = 0.0

    def ask(self, count: int, on_grant: OnGrant, on_error: OnError) -> None:
        """See `Limiter`."""
        # It is all or nothing, and many services take what they refuse off the window all the same:
        # no more than there may be.
        last = self._last
        if last is not None and last.limit is not None:
            left = self._ends_at - time.monotonic()
            most = last.remaining if left > 0 else max(last.limit, 1)
            if not most:
                on_grant(Grant(0, 0, left, left, last.window))
                return
            count = min(count, most)

        def answered(reply: Reply) -> None:
            if not reply.granted and count > 1:
                # There may be fewer. If there is one, the answer says how many are left.
                self._request(1, partial(self._settle, count, 1, on_grant), on_error)
            else:
                self._settle(count, count, on_grant, reply)

        self._request(count, answered, on_error)

    def _settle(self, asked: int, hits: int, on_grant: OnGrant, reply: Reply) -> None:
        self._last = reply
        self._ends_at = time.monotonic() + reply.reset_in
        permits = hits if reply.granted else 0
        retry_in = 0.0 if permits and reply.remaining else reply.reset_in
        on_grant(Grant(asked, permits, reply.reset_in, retry_in, reply.window))

    def _request(self, hits: int, on_reply: Any, on_error: OnError) -> None:
        def answered(response: Any) -> None:
            try:
                if response.error is not None and response.code == 599:
                    raise _curl_error(response.error)
                reply = read(response.code, response.body or b'', time.time())
            except LimiterError as error:
                on_error(error)
            else:
                on_reply(reply)

        self._http.add_request(
            Request(
                self._url,
                method='POST',
                headers=HEADERS,
                body=question(self._domain, self._name, hits),
                ca_certs=get_cert_path(True),
                on_prepare=partial(limit, connect=self._timeout, total=self._timeout),
                on_ready=answered,
            )
        )


def _curl_error(error: Any) -> LimiterError:
    fault = Fault.TIMEOUT if error.errno == pycurl.E_OPERATION_TIMEDOUT else Fault.UNREACHABLE
    return LimiterError(fault, str(error.message))
