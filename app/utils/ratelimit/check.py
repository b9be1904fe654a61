"""What must be right about rate limits before the worker starts."""

from __future__ import annotations

import logging
import time
import urllib.error
import urllib.request

from app.config.configuration import Config
from app.utils.ratelimit.limiter import Fault, LimiterError
from app.utils.ratelimit.plan import Keeper, Limit, RateLimits, plan
from app.utils.ratelimit.protocol import HEADERS, KEY, question, read
from be_queue import SettingError
from be_queue.redact import redact

__all__ = ['check', 'check_service']

logger = logging.getLogger(__name__)

#: Seconds for one answer.
TIMEOUT = 2.0
#: Past any proxy that the environment names, as the worker asks.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check(config: Config, ratelimits: RateLimits) -> None:
    """Raise `SettingError`, with one line for each fault, unless every limit can be kept."""
    alone = [limit for limit in plan(config, ratelimits) if limit.keeper is Keeper.MEMORY]
    for limit in alone if not config.is_local else ():
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
    limits = {
        limit.name: limit for limit in plan(config, ratelimits) if limit.keeper is Keeper.SERVICE
    }
    for limit in limits.values():
        try:
            _ask(config, limit)
        except LimiterError as error:
            if error.fault is not Fault.UNKNOWN_NAME:
                _warn(config, limit, error)
                break
            faults.append(
                f'queue {limit.queue}: the rate-limit service has no limit {limit.name!r} in the '
                f'domain {config.ratelimit_domain!r}: add the descriptor {KEY}: {limit.name} to '
                'its configuration, or mend ratelimit_name in the mapping'
            )
    if faults:
        raise SettingError('\n'.join(faults))


def _ask(config: Config, limit: Limit) -> None:
    body = question(config.ratelimit_domain or '', limit.name, 1)
    request = urllib.request.Request(config.ratelimit_url or '', body, HEADERS)
    try:
        try:
            with OPENER.open(request, timeout=TIMEOUT) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
    except OSError as error:
        raise LimiterError(Fault.UNREACHABLE, str(error)) from None
    read(status, text, time.time())


def _warn(config: Config, limit: Limit, error: LimiterError) -> None:
    policy = config.ratelimit_failure_policy
    logger.warning(
        'the rate-limit service gives no answer for queue %s: %s: check RATELIMIT_HOST=%s; until '
        'it does, queues with a limit %s (RATELIMIT_FAILURE_POLICY=%s)',
        limit.queue,
        redact(str(error)),
        redact(config.ratelimit_host),
        'have none' if policy == 'open' else 'are not polled',
        policy,
    )
