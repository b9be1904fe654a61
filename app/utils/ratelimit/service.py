"""Limits that a service keeps, asked over HTTP from the event loop."""

from __future__ import annotations

import time
from typing import Any

import pycurl
from botocore.httpsession import get_cert_path
from kombu.asynchronous.http import Request

from app.utils.ratelimit.limiter import Fault, Grant, LimiterError, OnError, OnGrant
from app.utils.ratelimit.protocol import HEADERS, Reply, question, read
from be_queue.transport.clients.http import limit

__all__ = ['Service']

#: Seconds for which an answer holds for what comes next.
FRESH = 0.05
#: The part of what was left, or of a window not looked at yet, that most likely still is.
SAFE_PART = 0.25


class Service:
    """The limit of one queue.

    A request is all or nothing, and many services take what they refuse off the window all the
    same. So a request for much of a window comes after one for a single hit, whose answer says how
    much is left.

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
        #: The last answer, when it came and when its window ends, by the monotonic clock.
        self._last: Reply | None = None
        self._answered_at = self._ends_at = 0.0

    def ask(self, count: int, on_grant: OnGrant, on_error: OnError) -> None:
        """See `Limiter`."""
        if count < 1:
            on_error(LimiterError(Fault.ABSURD, f'{count} permits asked for: must be 1 at least'))
            return
        last, now = self._last, time.monotonic()
        is_over = now >= self._ends_at
        if last is None:
            self._ask_for_one(count, on_grant, on_error)
        elif last.limit is None:
            self._ask_for(count, 0, on_grant, on_error)
        elif not last.remaining and not is_over:
            left = self._ends_at - now
            on_grant(Grant(0, 0, left, left, last.window))
        else:
            known = last.limit if is_over else last.remaining
            is_fresh = now - self._answered_at < FRESH
            if count <= known * SAFE_PART or (is_fresh and not is_over):
                self._ask_for(min(count, known), 0, on_grant, on_error)
            else:
                self._ask_for_one(count, on_grant, on_error)

    def _ask_for_one(self, count: int, on_grant: OnGrant, on_error: OnError) -> None:
        def answered(reply: Reply) -> None:
            more = min(count - 1, reply.remaining) if reply.granted else 0
            if more:
                self._ask_for(more, 1, on_grant, on_error)
            else:
                on_grant(_grant(count, int(reply.granted), reply))

        self._request(1, answered, on_error)

    def _ask_for(self, count: int, had: int, on_grant: OnGrant, on_error: OnError) -> None:
        def answered(reply: Reply) -> None:
            if not reply.granted and count > 1:
                # Others came first; there may be fewer.
                self._last = None
                on_grant(Grant(had + count, had, reply.reset_in, 0.0, reply.window))
            else:
                on_grant(_grant(had + count, had + (count if reply.granted else 0), reply))

        self._request(count, answered, on_error)

    def _request(self, hits: int, on_reply: Any, on_error: OnError) -> None:
        def answered(response: Any) -> None:
            try:
                if response.error is not None and response.code == 599:
                    raise _curl_error(response.error)
                reply = read(response.code, response.body or b'', time.time())
            except LimiterError as error:
                on_error(error)
            else:
                self._last, self._answered_at = reply, time.monotonic()
                self._ends_at = self._answered_at + reply.reset_in
                on_reply(reply)

        self._http.add_request(
            Request(
                self._url,
                method='POST',
                headers=HEADERS,
                body=question(self._domain, self._name, hits),
                ca_certs=get_cert_path(True),
                follow_redirects=False,
                on_prepare=self._prepare,
                on_ready=answered,
            )
        )

    def _prepare(self, curl: Any) -> None:
        limit(curl, connect=self._timeout, total=self._timeout)
        # No proxy that the environment names.
        curl.setopt(pycurl.PROXY, '')


def _grant(asked: int, permits: int, reply: Reply) -> Grant:
    retry_in = 0.0 if reply.granted and reply.remaining else reply.reset_in
    return Grant(asked, permits, reply.reset_in, retry_in, reply.window)


def _curl_error(error: Any) -> LimiterError:
    fault = Fault.TIMEOUT if error.errno == pycurl.E_OPERATION_TIMEDOUT else Fault.UNREACHABLE
    return LimiterError(fault, str(error.message))
