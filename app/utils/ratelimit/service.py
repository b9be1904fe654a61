"""Limits of a rate-limit service, over HTTP."""

from __future__ import annotations

import time

import urllib3
from botocore.httpsession import get_cert_path

from app.config.configuration import Config
from app.utils.ratelimit.limiter import Fault, Grant, LimiterError
from app.utils.ratelimit.protocol import HEADERS, Reply, question, read

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
        config: says where the service is, and the domain.
        name: the limit's.
        timeout: seconds to connect, and for an answer.
    """

    def __init__(self, config: Config, name: str, timeout: float) -> None:
        self._url = config.ratelimit_url or ''
        self._domain = config.ratelimit_domain or ''
        self._name = name
        # Follows no redirect, tries once, and asks no proxy of the environment.
        self._http = urllib3.PoolManager(
            timeout=timeout, retries=False, ca_certs=get_cert_path(True)
        )
        #: The last answer, when it came and when its window ends, by the monotonic clock.
        self._last: Reply | None = None
        self._answered_at = self._ends_at = 0.0

    def acquire(self, count: int) -> Grant:
        """See `Limiter`."""
        if count < 1:
            raise LimiterError(Fault.ABSURD, f'{count} permits asked for: must be 1 at least')
        last, now = self._last, time.monotonic()
        is_over = now >= self._ends_at
        if last is None:
            return self._take_one_first(count)
        if last.limit is None:
            return self._take(count)
        if not last.remaining and not is_over:
            left = self._ends_at - now
            return Grant(0, 0, left, left, last.window)
        known = last.limit if is_over else last.remaining
        is_fresh = now - self._answered_at < FRESH
        if count <= known * SAFE_PART or (is_fresh and not is_over):
            return self._take(min(count, known))
        return self._take_one_first(count)

    def _take_one_first(self, count: int) -> Grant:
        reply = self._request(1)
        more = min(count - 1, reply.remaining) if reply.granted else 0
        return self._take(more, had=1) if more else _grant(count, int(reply.granted), reply)

    def _take(self, count: int, had: int = 0) -> Grant:
        reply = self._request(count)
        if not reply.granted and count > 1:
            # Others came first; there may be fewer.
            self._last = None
            return Grant(had + count, had, reply.reset_in, 0.0, reply.window)
        return _grant(had + count, had + (count if reply.granted else 0), reply)

    def _request(self, hits: int) -> Reply:
        body = question(self._domain, self._name, hits)
        try:
            answer = self._http.request('POST', self._url, body=body, headers=HEADERS)
        except urllib3.exceptions.HTTPError as error:
            # To urllib3 a refused connection is a time-out too.
            timed_out = isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(
                error, urllib3.exceptions.NewConnectionError
            )
            fault = Fault.TIMEOUT if timed_out else Fault.UNREACHABLE
            raise LimiterError(fault, str(error)) from error
        reply = read(answer.status, answer.data, time.time())
        self._last, self._answered_at = reply, time.monotonic()
        self._ends_at = self._answered_at + reply.reset_in
        return reply


def _grant(asked: int, permits: int, reply: Reply) -> Grant:
    retry_in = 0.0 if reply.granted and reply.remaining else reply.reset_in
    return Grant(asked, permits, reply.reset_in, retry_in, reply.window)
