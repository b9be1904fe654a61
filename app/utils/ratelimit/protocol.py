"""Envoy's rate-limit protocol in JSON: the request, and how the answer is read.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto, as the service
https://github.com/envoyproxy/ratelimit answers it at ``POST /json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from app.utils.ratelimit.limiter import Fault, LimiterError

__all__ = ['HEADERS', 'KEY', 'Reply', 'question', 'read']

HEADERS = {'Content-Type': 'application/json', 'Accept': 'application/json'}

#: Key of the one entry of our descriptors; its value is a ``ratelimit_name``. Envoy's own key for
#: fixed names.
KEY = 'generic_key'
#: Seconds of each unit.
UNITS = {
    'SECOND': 1,
    'MINUTE': 60,
    'HOUR': 3600,
    'DAY': 86_400,
    'WEEK': 7 * 86_400,
    'MONTH': 30 * 86_400,
    'YEAR': 365 * 86_400,
}
#: The largest number of the protocol. It is what remains of a descriptor that the service's
#: configuration calls unlimited.
MOST = 2**32 - 1
#: Characters of an answer in an error.
SHOWN = 200

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


def question(domain: str, name: str, hits: int) -> bytes:
    """Return the body of a request."""
    descriptor = {'entries': [{'key': KEY, 'value': name}]}
    return json.dumps({'domain': domain, 'descriptors': [descriptor], 'hitsAddend': hits}).encode()


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
