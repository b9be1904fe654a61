"""Which limiter a queue gets."""

from __future__ import annotations

from collections.abc import Sequence

from be_queue.worker import ratelimit
from be_queue.worker.ratelimit import Limit, Limiter
from be_queue.worker.settings import Settings

__all__ = ['limiters']


def limiters(config: Settings, limits: Sequence[Limit]) -> dict[str, Limiter]:
    """Return the limiter of each queue that has one, by the queue's name; connect to nothing yet.

    Called once in the worker's main process, before it receives. The worker's own are a rate-limit
    service (RATELIMIT_HOST), windows in Redis (RATELIMIT_REDIS_URL), or windows in memory.
    """
    return ratelimit.limiters(config, limits)
