"""Which queue has which limit, which backend counts it, and whether it can be kept.

| the queue has    | and the settings have | its limit is kept                     |
|------------------|-----------------------|---------------------------------------|
| `ratelimit_name` | `RATELIMIT_HOST`      | by the service, under that name       |
| `ratelimit`      | `RATELIMIT_REDIS_URL` | in Redis, for all workers together    |
| `ratelimit`      | neither               | by each worker, in memory, for itself |

Redis, the service's protocol and `limits` are imported for queues that have such a limit: together
they take as long as Celery.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from be_queue import SettingError
from be_queue.naming import prefix, sqs_name
from be_queue.outage import brief
from be_queue.worker.ratelimit.limiter import Fault, Limiter, LimiterError
from be_queue.worker.settings import Settings

if TYPE_CHECKING:
    from limits import RateLimitItem

__all__ = ['Limit', 'RateLimits', 'check', 'check_service', 'limiters', 'plan']

logger = logging.getLogger(__name__)

#: Seconds for an answer at the start.
START_TIMEOUT = 2.0

#: Name and text of the limit by queue, as the mapping has them; one of them may be None.
RateLimits = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True)
class Limit:
    """The limit of one queue.

    Arguments:
        queue: its name on SQS.
        name: the limit's name where it is counted. Queues with the same name share it.
        item: messages by time; None for a limit of the service, which knows.
    """

    queue: str
    name: str
    item: RateLimitItem | None = None


def plan(config: Settings, ratelimits: RateLimits) -> list[Limit]:
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
                limits.append(Limit(queue, name))
            elif item:
                # Environments may share a Redis.
                full_name = sqs_name(prefix(config.env, config.username), name) if name else queue
                limits.append(Limit(queue, full_name, item))
        except ValueError as error:
            faults.append(f'queue {queue}: {error}')
    try:
        limiters(config, limits)
    except ValueError as error:
        faults.append(f'RATELIMIT_REDIS_URL: {error}')
    if faults:
        raise SettingError('\n'.join(faults))
    return limits


def limiters(config: Settings, limits: Sequence[Limit]) -> dict[str, Limiter]:
    """Return the limiter of each queue that has one. Connects to nothing yet.

    Raises ValueError for a URL of Redis that cannot be used.
    """
    made: dict[str, Limiter] = {}
    counted_in = None
    for limit in limits:
        if limit.item is None:
            from be_queue.worker.ratelimit.service import Service

            made[limit.queue] = Service(config, limit.name, config.ratelimit_timeout)
        else:
            from be_queue.worker.ratelimit.windows import Windows, storage

            counted_in = counted_in or storage(config.ratelimit_redis_url, config.ratelimit_timeout)
            made[limit.queue] = Windows(counted_in, limit.item, limit.name)
    return made


def _parse(text: str) -> RateLimitItem:
    from limits import parse_many

    try:
        (item,) = parse_many(text)
    except ValueError:
        item = None
    if item is None or item.amount < 1:
        raise ValueError(
            f"ratelimit={text!r}: must be one limit such as '100/minute', '5/second' or "
            "'1000 per 2 hours'; to receive nothing, set consume=False"
        )
    return item


def check(config: Settings, ratelimits: RateLimits) -> None:
    """Raise `SettingError`, with one line for each fault, unless every limit can be kept."""
    limits = plan(config, ratelimits)
    if config.is_local:
        return
    for queue in sorted(ratelimits.keys() - {limit.queue for limit in limits}):
        logger.info('queue %s has no limit: its ratelimit_name needs RATELIMIT_HOST', queue)
    for limit in limits:
        if limit.item is not None and not config.ratelimit_redis_url:
            logger.warning(
                'queue %s: each worker keeps its limit %s for itself, so that several receive more '
                'together: set RATELIMIT_REDIS_URL (or RATELIMIT_HOST) to share it',
                limit.queue,
                limit.item,
            )


def check_service(config: Settings, ratelimits: RateLimits) -> None:
    """Ask the service for one permit of each limit that it must know.

    A service that does not answer is logged; the worker's policy is for that.

    Raises `SettingError` with one line for each name that it does not know.
    """
    queues = defaultdict(list)
    for limit in plan(config, ratelimits):
        if limit.item is None:
            queues[limit.name].append(limit.queue)
    faults = []
    for name in queues:
        from be_queue.worker.ratelimit.service import KEY, Service

        try:
            Service(config, name, START_TIMEOUT).acquire(1)
        except LimiterError as error:
            if error.fault is not Fault.UNKNOWN_NAME:
                logger.warning(
                    'the rate-limit service %s gives no answer: %s: check RATELIMIT_HOST; until it '
                    'does, RATELIMIT_FAILURE_POLICY=%s holds',
                    config.ratelimit_url,
                    brief(error),
                    config.ratelimit_failure_policy,
                )
                break
            faults.append(
                f'queue {", ".join(queues[name])}: the rate-limit service has no limit {name!r} '
                f'in the domain {config.ratelimit_domain!r}: add the descriptor {KEY}: {name} to '
                'its configuration, or fix ratelimit_name in the mapping'
            )
    if faults:
        raise SettingError('\n'.join(faults))
