"""Limits of a rate-limit service: Envoy's protocol in JSON, over HTTP.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto, as the service
https://github.com/envoyproxy/ratelimit answers it at ``POST /json``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import urllib3
from botocore.httpsession import get_cert_path
from pydantic import BaseModel, Field, ValidationError

from be_queue.worker.ratelimit.limiter import Fault, Grant, LimiterError
from be_queue.worker.settings import Settings

__all__ = ['KEY', 'Reply', 'Service', 'question', 'read']

#: Key of the one entry of our descriptors; its value is a ``ratelimit_name``. Envoy's own key for
#: fixed names.
KEY = 'generic_key'
DAY = 86_400
#: Seconds of each unit.
UNITS = {
    'SECOND': 1,
    'MINUTE': 60,
    'HOUR': 3600,
    'DAY': DAY,
    'WEEK': 7 * DAY,
    'MONTH': 30 * DAY,
    'YEAR': 365 * DAY,
}
#: The largest number of the protocol. It is what remains of a descriptor that the service's
#: configuration calls unlimited.
MOST = 2**32 - 1
#: Characters of an answer in an error.
SHOWN = 200
#: Seconds for which an answer holds for what comes next.
FRESH_SECONDS = 0.05
#: The part of what was left, or of a window not looked at yet, that most likely still is.
SAFE_PART = 0.25

# The service leaves out a number that is zero.
Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]


class _Limit(BaseModel):
    amount: Count = Field(0, alias='requestsPerUnit')
    unit: Literal['SECOND', 'MINUTE', 'HOUR', 'DAY', 'WEEK', 'MONTH', 'YEAR']


class _Status(BaseModel):
    limit: _Limit | None = Field(None, alias='currentLimit')
    remaining: Count = Field(0, alias='limitRemaining')
    #: Older services do not have it.
    reset: str | None = Field(None, alias='durationUntilReset', pattern=r'^\d{1,9}(\.\d{1,9})?s$')


class _Answer(BaseModel):
    code: Literal['OK', 'OVER_LIMIT'] = Field(alias='overallCode')
    statuses: tuple[_Status]


@dataclass(frozen=True)
class Reply:
    """The service's answer.

    Arguments:
        granted: whether all hits that were asked for are granted; if not, none is.
        limit: hits of a window; None is unlimited.
        remaining: hits that the window has left.
        reset_in: seconds until the window ends.
        window: its whole length in seconds.
    """

    granted: bool
    limit: int | None
    remaining: int
    reset_in: float
    window: float


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

    def __init__(self, config: Settings, name: str, timeout: float) -> None:
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
        last, now = self._last, time.monotonic()
        if last is None:
            return self._take_one_first(count)
        if last.limit is None:
            return self._take(count)
        left = self._ends_at - now
        if left > 0 and not last.remaining:
            return Grant(0, 0, left, left, last.window)
        known = last.remaining if left > 0 else last.limit
        is_fresh = left > 0 and now - self._answered_at < FRESH_SECONDS
        if is_fresh or count <= known * SAFE_PART:
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
            answer = self._http.request('POST', self._url, json=body)
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


def question(domain: str, name: str, hits: int) -> dict[str, Any]:
    """Return the body of a request."""
    descriptor = {'entries': [{'key': KEY, 'value': name}]}
    return {'domain': domain, 'descriptors': [descriptor], 'hitsAddend': hits}


def read(status: int, body: bytes, now: float) -> Reply:
    """Return what the service answered.

    Arguments:
        status: HTTP status.
        now: seconds since the epoch.

    Raises `LimiterError` for anything that is not an answer of the protocol, makes no sense or is
    about a name that the service does not know.
    """
    if status not in (200, 429):
        raise LimiterError(Fault.REFUSED, f'HTTP status {status}: {_shown(body)}')
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = '.'.join(map(str, first['loc']))
        raise _invalid(f'{place}: {first["msg"]}', body) from None
    granted, (found,) = answer.code == 'OK', answer.statuses
    if found.limit is None:
        if granted and found.remaining == MOST:
            return Reply(True, None, MOST, float(UNITS['MINUTE']), float(UNITS['MINUTE']))
        if not granted or found.remaining:
            raise _invalid('there is no limit', body)
        message = 'the service has no limit of this name in this domain'
        raise LimiterError(Fault.UNKNOWN_NAME, message)
    window = float(UNITS[found.limit.unit])
    # The windows of older services begin at full units all the same.
    seconds = float(found.reset[:-1]) if found.reset else window - now % window
    if found.remaining > found.limit.amount or seconds > window:
        raise _invalid('more is left than the whole window has', body)
    if seconds.is_integer() and found.reset:
        # The service counts in full seconds: the window ends as the last one of them does.
        seconds = max(seconds, 1.0) - now % 1
    return Reply(granted, found.limit.amount, found.remaining, seconds, window)


def _invalid(reason: str, body: bytes) -> LimiterError:
    return LimiterError(Fault.ABSURD, f'not an answer ({reason[:SHOWN]}): {_shown(body)}')


def _shown(body: bytes) -> str:
    return repr(' '.join(body[:SHOWN].decode(errors='replace').split()))


def _grant(asked: int, permits: int, reply: Reply) -> Grant:
    retry_in = 0.0 if reply.granted and reply.remaining else reply.reset_in
    return Grant(asked, permits, reply.reset_in, retry_in, reply.window)
