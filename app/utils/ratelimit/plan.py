"""Which queue has which limit, and which backend counts it.

| the queue has    | and the settings have | its limit is kept                     |
|------------------|-----------------------|---------------------------------------|
| `ratelimit_name` | `RATELIMIT_HOST`      | by the service, under that name       |
| `ratelimit`      | `RATELIMIT_REDIS_URL` | in Redis, for all workers together    |
| `ratelimit`      | neither               | by each worker, in memory, for itself |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from limits import RateLimitItem, parse_many

from app.config.configuration import Config
from app.utils.ratelimit.redis_storage import redis_storage
from be_queue import SettingError
from be_queue.naming import prefix, sqs_name
from be_queue.redact import MASK, redact

__all__ = ['Backend', 'Limit', 'RateLimits', 'plan']

DAY = 86_400
#: Seconds of the longest window.
LONGEST = 366 * DAY
#: "0 seconds", which `limits` takes for one.
NO_TIME = re.compile(r'\D0+\s*[A-Za-z]')

#: What the mapping says: name and text of the limit by queue, one of them maybe None.
RateLimits = Mapping[str, Mapping[str, str | None]]


class Backend(Enum):
    """Where a limit is counted."""

    SERVICE = 'service'
    REDIS = 'redis'
    MEMORY = 'memory'


@dataclass(frozen=True)
class Limit:
    """The limit of one queue.

    Arguments:
        queue: its name on SQS.
        backend: counts.
        name: the limit's name in the backend. Queues with the same name share it.
        item: messages by time; None where the service knows.
    """

    queue: str
    backend: Backend
    name: str
    item: RateLimitItem | None = None


def plan(config: Config, ratelimits: RateLimits) -> list[Limit]:
    """Return the limits of the queues that have one.

    Raises `SettingError` with one line for each that cannot be kept.
    """
    limits, faults = [], []
    texts: dict[str, tuple[str, str]] = {}
    for queue, entry in ratelimits.items():
        name, text = entry.get('name'), entry.get('limit')
        try:
            item = None if text is None else _parse(text)
            if name and text and texts.setdefault(name, (text, queue))[0] != text:
                other, first = texts[name]
                raise ValueError(
                    f'ratelimit={text!r}: queue {first} has {other!r} under the same '
                    f'ratelimit_name={name!r}, and queues of one name share a limit'
                )
            if config.ratelimit_host and name:
                if not config.ratelimit_domain:
                    raise ValueError(
                        f'ratelimit_name={name!r}: RATELIMIT_HOST makes it a limit of the service '
                        f'{config.ratelimit_url}, which has it in a domain: set RATELIMIT_DOMAIN, '
                        'or unset RATELIMIT_HOST'
                    )
                limits.append(Limit(queue, Backend.SERVICE, name))
            elif item:
                backend = Backend.REDIS if config.ratelimit_redis_url else Backend.MEMORY
                # Environments may share a Redis.
                full_name = sqs_name(prefix(config.env, config.username), name) if name else queue
                limits.append(Limit(queue, backend, full_name, item))
        except ValueError as error:
            faults.append(f'queue {queue}: {error}')
    if any(limit.backend is Backend.REDIS for limit in limits):
        faults += _redis_faults(config.ratelimit_redis_url or '')
    if faults:
        raise SettingError('\n'.join(faults))
    return limits


def _parse(text: str) -> RateLimitItem:
    fault = (
        f'ratelimit={text!r}: must be one limit such as '
        "'100/minute', '5/second' or '1000 per 2 hours'"
    )
    try:
        items = parse_many(text)
    except ValueError:
        items = []
    if len(items) != 1 or NO_TIME.search(text):
        raise ValueError(fault)
    if items[0].amount < 1:
        raise ValueError(f'{fault}; to receive nothing, set consume=False')
    if items[0].get_expiry() > LONGEST:
        raise ValueError(f'{fault}; its window may last up to {LONGEST // DAY} days')
    return items[0]


def _redis_faults(url: str) -> list[str]:
    try:
        redis_storage(url, timeout=1.0)
    except ValueError as error:
        # Of what is no URL, any part may be a password.
        shown = redact(url) if '://' in url else MASK
        return [
            f'RATELIMIT_REDIS_URL={shown!r}: must be a URL such as redis://host:6379/0 ({error})'
        ]
    return []
