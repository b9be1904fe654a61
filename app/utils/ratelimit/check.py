"""What must be right about rate limits before the worker starts."""

from __future__ import annotations

import logging
from collections import defaultdict

from kombu.asynchronous import Hub

from app.config.configuration import Config
from app.utils.ratelimit.limiter import Fault, Grant, LimiterError
from app.utils.ratelimit.plan import Keeper, RateLimits, plan
from app.utils.ratelimit.protocol import KEY
from app.utils.ratelimit.service import Service
from be_queue import SettingError
from be_queue.redact import redact
from be_queue.transport.clients.http import client_of

__all__ = ['check', 'check_service']

logger = logging.getLogger(__name__)

#: Seconds for one answer.
TIMEOUT = 2.0


def check(config: Config, ratelimits: RateLimits) -> None:
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
    for limit in (limit for limit in limits if limit.keeper is Keeper.MEMORY):
        logger.warning(
            'queue %s: each worker keeps its limit %s for itself, so that several receive more '
            'together: set RATELIMIT_REDIS_URL (or RATELIMIT_HOST) to share it',
            limit.queue,
            limit.item,
        )


def check_service(config: Config, ratelimits: RateLimits) -> None:
    """Ask the service for one permit of each limit that it must know.

    A service that does not answer is logged; the worker's policy is for that.

    Raises `SettingError` with one line for each name that it does not know.
    """
    faults = []
    queues = defaultdict(list)
    for limit in plan(config, ratelimits):
        if limit.keeper is Keeper.SERVICE:
            queues[limit.name].append(limit.queue)
    for name in queues:
        try:
            _ask(config, name)
        except LimiterError as error:
            if error.fault is not Fault.UNKNOWN_NAME:
                _warn(config, queues[name][0], error)
                break
            faults += [
                f'queue {queue}: the rate-limit service has no limit {name!r} in the domain '
                f'{config.ratelimit_domain!r}: add the descriptor {KEY}: {name} to its '
                'configuration, or mend ratelimit_name in the mapping'
                for queue in queues[name]
            ]
    if faults:
        raise SettingError('\n'.join(faults))


def _ask(config: Config, name: str) -> None:
    """Ask for one permit as the worker does, in an event loop of its own."""
    hub = Hub()
    outcomes: list[Grant | LimiterError] = []
    try:
        url, domain = config.ratelimit_url or '', config.ratelimit_domain or ''
        service = Service(client_of(hub), url, domain, name, TIMEOUT)
        service.ask(1, outcomes.append, outcomes.append)
        while not outcomes:
            hub.run_once()
    finally:
        hub.close()
    (outcome,) = outcomes
    if isinstance(outcome, LimiterError):
        raise outcome


def _warn(config: Config, queue: str, error: LimiterError) -> None:
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
