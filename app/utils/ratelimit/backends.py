"""Makes the limiters of a plan: of a rate-limit service, of Redis, or of this process's memory."""

from __future__ import annotations

from collections.abc import Sequence

from limits.storage import MemoryStorage, Storage

from app.config.configuration import Config
from app.utils.ratelimit.limiter import Limiter
from app.utils.ratelimit.plan import Backend, Limit
from app.utils.ratelimit.redis_storage import redis_storage
from app.utils.ratelimit.service import Service
from app.utils.ratelimit.windows import Windows

__all__ = ['limiters']


def limiters(config: Config, plan: Sequence[Limit]) -> dict[str, Limiter]:
    """Return the limiter of each queue that has one. Connects to nothing yet."""
    backends = {limit.backend for limit in plan}
    storages: dict[Backend, Storage] = {Backend.MEMORY: MemoryStorage()}
    if Backend.REDIS in backends:
        url = config.ratelimit_redis_url or ''
        storages[Backend.REDIS] = redis_storage(url, config.ratelimit_timeout)

    def limiter(limit: Limit) -> Limiter:
        if limit.item is None:
            return Service(config, limit.name, config.ratelimit_timeout)
        return Windows(storages[limit.backend], limit.item, limit.name)

    return {limit.queue: limiter(limit) for limit in plan}
