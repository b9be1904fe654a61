"""Envoy's rate-limit protocol in JSON: what is sent, and how the answer is read.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto, as the service
https://github.com/envoyproxy/ratelimit answers it at ``POST /json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
DURATION = re.compile(r'(-?\d{1,12}(?:\.\d{1,9})?)s')
#: Characters of an answer in an error.
SHOWN = 200


@dataclass(frozen=True)
class Reply:
    """The service's answer.

    Arguments:
        granted: all hits that were asked for; else none.
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
    """Return what the service said.

    Arguments:
        status: HTTP status.
        now: seconds since the epoch.

    Raises `LimiterError` for anything that is not an answer of the protocol, makes no sense or is
    about a name that the service does not know.
    """
    if status not in (200, 429):
        raise LimiterError(Fault.REFUSED, f'HTTP status {status}: {_shown(body)}')
    try:
        answer = json.loads(body)
        code, (descriptor,) = answer['overallCode'], answer['statuses']
        limit = descriptor.get('currentLimit')
        remaining = _count(descriptor, 'limitRemaining')
        if code not in ('OK', 'OVER_LIMIT'):
            raise ValueError(f'overallCode {code!r}')
        if limit is None:
            return _without_limit(code, remaining)
        amount, window = _count(limit, 'requestsPerUnit'), float(UNITS[limit['unit']])
        if remaining > amount:
            raise ValueError(f'{remaining} remain of {amount}')
        reset_in = _reset_in(descriptor.get('durationUntilReset'), window, now)
    except LimiterError:
        raise
    except Exception as error:  # noqa: BLE001  (of JSON that may be anything)
        reason = f'{type(error).__name__}: {error}'[:SHOWN]
        raise LimiterError(Fault.ABSURD, f'not an answer ({reason}): {_shown(body)}') from None
    return Reply(code == 'OK', amount, remaining, reset_in, window)


def _without_limit(code: str, remaining: int) -> Reply:
    if code == 'OK' and remaining == MOST:
        return Reply(True, None, remaining, float(UNITS['MINUTE']), float(UNITS['MINUTE']))
    if code != 'OK' or remaining:
        raise ValueError(f'{code} without a limit, of which {remaining} remain')
    raise LimiterError(Fault.UNKNOWN_NAME, 'the service has no limit of this name in this domain')


def _count(message: Mapping[str, Any], field: str) -> int:
    # Zero is left out.
    value = message.get(field, 0)
    if type(value) is not int or not 0 <= value <= MOST:
        raise ValueError(f'{field} {value!r}')
    return value


def _reset_in(text: Any, window: float, now: float) -> float:
    if text is None:  # older services; their windows begin at full units all the same
        return window - now % window
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) if match else -1.0
    if not 0 <= seconds <= window:
        raise ValueError(f'durationUntilReset {text!r} of a window of {window:g} s')
    # The service counts in full seconds: the window ends as the last one of them does.
    return max(seconds, 1.0) - now % 1 if seconds.is_integer() else seconds


def _shown(body: bytes) -> str:
    return repr(' '.join(body[:SHOWN].decode(errors='replace').split()))
