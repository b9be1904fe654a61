"""Limits of a rate-limit service: Envoy's protocol in JSON, over HTTP.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto, as the service
https://github.com/envoyproxy/ratelimit answers it at ``POST /json``.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import urllib3
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError
from urllib3 import exceptions

from be_queue.worker.ratelimit.limiter import Fault, Grant, LimiterError
from be_queue.worker.settings import Settings

__all__ = ['KEY', 'UNITS', 'Reply', 'Service', 'question', 'read']

#: Key of the one entry of our descriptors; its value is a ``ratelimit_name``. Envoy's own key for
#: fixed names.
KEY = 'generic_key'
#: Seconds of each unit.
UNITS = {'SECOND': 1.0, 'MINUTE': 60.0, 'HOUR': 3600.0, 'DAY': 86_400.0}
UNITS |= {'WEEK': 7 * UNITS['DAY'], 'MONTH': 30 * UNITS['DAY'], 'YEAR': 365 * UNITS['DAY']}
#: The remaining hits of a descriptor that the service's configuration calls unlimited.
UNLIMITED = 2**32 - 1
#: Characters of an answer in an error.
SHOWN = 200
#: The part of what was left, or of a window not looked at yet, that most likely still is.
SAFE_PART = 0.25


class _Limit(BaseModel):
    amount: NonNegativeInt = Field(0, alias='requestsPerUnit')
    unit: str


class _Status(BaseModel):
    limit: _Limit | None = Field(None, alias='currentLimit')
    # The service leaves out a number that is zero.
    remaining: NonNegativeInt = Field(0, alias='limitRemaining')


class _Answer(BaseModel):
    code: Literal['OK', 'OVER_LIMIT'] = Field(alias='overallCode')
    statuses: tuple[_Status]


class Reply(NamedTuple):
    """The service's answer: all hits that were asked for, or none."""

    granted: bool
    #: Hits of a window, and those that it has left.
    limit: int
    remaining: int
    #: Its length in seconds.
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
        self._http = urllib3.PoolManager(timeout=timeout, retries=False)
        self._last = Reply(True, 0, 0, 1.0)
        self._ends_at = 0.0

    def acquire(self, count: int) -> Grant:
        """See `Limiter`."""
        known = self._last.remaining if time.time() < self._ends_at else self._last.limit
        hits = count if count <= known * SAFE_PART else 1
        reply = self._request(hits)
        permits = hits if reply.granted else 0
        rest = min(count - hits, reply.remaining)
        if reply.granted and rest > 0:
            hits, reply = rest, self._request(rest)
            permits += hits if reply.granted else 0
        # Of many that are refused, others came first; there may be fewer.
        is_used_up = not reply.remaining if reply.granted else hits == 1
        return Grant(permits, max(self._ends_at - time.time(), 0.0), is_used_up, reply.window)

    def _request(self, hits: int) -> Reply:
        try:
            answer = self._http.request(
                'POST', self._url, json=question(self._domain, self._name, hits)
            )
        except exceptions.HTTPError as error:
            # To urllib3 a refused connection is a time-out too.
            refused = isinstance(error, exceptions.NewConnectionError)
            timed_out = isinstance(error, exceptions.TimeoutError) and not refused
            fault = Fault.TIMEOUT if timed_out else Fault.UNREACHABLE
            raise LimiterError(fault, str(error)) from error
        self._last = reply = read(answer.status, answer.data)
        # As the service's do, windows begin at full units of time since the epoch.
        self._ends_at = (time.time() // reply.window + 1) * reply.window
        return reply


def question(domain: str, name: str, hits: int) -> dict[str, Any]:
    """Return the body of a request."""
    descriptor = {'entries': [{'key': KEY, 'value': name}]}
    return {'domain': domain, 'descriptors': [descriptor], 'hitsAddend': hits}


def read(status: int, body: bytes) -> Reply:
    """Return what the service answered.

    Raises `LimiterError` for anything that is not an answer of the protocol, and for a name that
    the service does not know.
    """
    if status not in (200, 429):
        raise LimiterError(Fault.REFUSED, f'HTTP status {status}: {body[:SHOWN]!r}')
    try:
        answer = _Answer.model_validate_json(body)
        (found,) = answer.statuses
        if found.limit is not None:
            window = UNITS[found.limit.unit]
            return Reply(answer.code == 'OK', found.limit.amount, found.remaining, window)
    except (ValidationError, KeyError):
        raise LimiterError(Fault.ABSURD, f'not an answer: {body[:SHOWN]!r}') from None
    if found.remaining == UNLIMITED:
        return Reply(True, UNLIMITED, UNLIMITED, UNITS['MINUTE'])
    raise LimiterError(Fault.UNKNOWN_NAME, 'the service has no limit of this name in this domain')
