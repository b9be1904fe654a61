"""What must be right about rate limits before the worker starts."""

from __future__ import annotations

import logging
from collections import defaultdict

from be_queue import SettingError
from be_queue.redact import redact
from be_queue.worker.ratelimit.limiter import Fault, LimiterError
from be_queue.worker.ratelimit.plan import RateLimits, plan
from be_queue.worker.settings import Settings

__all__ = ['check', 'check_service']

logger = logging.getLogger(__name__)

#: Seconds for one answer.
TIMEOUT = 2.0


def check(config: Settings, ratelimits: RateLimits) -> None:
    """Raise `SettingError`, with one line for each fault, unless every limit can be kept."""
    limits = plan(config, ratelimits)
    if config.is_local:
        return
    for queue in sorted(ratelimits.keys() - {limit.queue for limit in limits}):
        logger.info(
            'queue %s has no limit: its ratelimit_name is one of a service, and RATELIMIT_HOST is '
            'not set',
            queue,
        )
    for limit in limits:
        if limit.item is None or config.ratelimit_redis_url:
            continue
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
    if not queues:
        return
    from be_queue.worker.ratelimit.service import KEY, Service

    faults = []
    for name in queues:
        try:
            Service(config, name, TIMEOUT).acquire(1)
        except LimiterError as error:
            if error.fault is not Fault.UNKNOWN_NAME:
                _warn(config, queues[name][0], error)
                break
            faults += [
                f'queue {queue}: the rate-limit service has no limit {name!r} in the domain '
                f'{config.ratelimit_domain!r}: add the descriptor {KEY}: {name} to its '
                'configuration, or fix ratelimit_name in the mapping'
                for queue in queues[name]
            ]
    if faults:
        raise SettingError('\n'.join(faults))


def _warn(config: Settings, queue: str, error: LimiterError) -> None:
    policy = config.ratelimit_failure_policy
    logger.warning(
        'the rate-limit service %s gives no answer for queue %s: %s: check RATELIMIT_HOST; until '
        'it does, queues with a limit %s (RATELIMIT_FAILURE_POLICY=%s)',
        config.ratelimit_url,
        queue,
        redact(str(error)),
        'have none' if policy == 'open' else 'are not polled',
        policy,
    )
