"""Makes the limiters of a plan, with what they share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from limits.storage import MemoryStorage, Storage

from app.config.configuration import Config
from app.utils.ratelimit import redis
from app.utils.ratelimit.limiter import Limiter
from app.utils.ratelimit.plan import Keeper, Limit
from app.utils.ratelimit.redis import Redis
from app.utils.ratelimit.service import Service
from app.utils.ratelimit.threads import Threads
from app.utils.ratelimit.windows import Memory, Windows
from be_queue.transport.clients.http import client_of

__all__ = ['Keepers']

#: Requests to the service in flight at a time.
MAX_REQUESTS = 20
#: Requests of one question to Redis, at most: to connect, to ask, to ask for what is left, and to
#: ask for that.
REQUESTS = 4


class Keepers:
    """The limiters of the queues, asked from one event loop.

    Arguments:
        config: the app's settings.
        plan: the limits.
        hub: the event loop.
    """

    def __init__(self, config: Config, plan: Sequence[Limit], hub: Any) -> None:
        self._config = config
        self._hub = hub
        #: By queue.
        self.limiters = {limit.queue: self._limiter(limit) for limit in plan}

    def close(self) -> None:
        """Give up what they share."""
        if '_threads' in vars(self):
            self._threads.close()

    def _limiter(self, limit: Limit) -> Limiter:
        config = self._config
        if limit.item is None:
            url, domain = config.ratelimit_url or '', config.ratelimit_domain or ''
            client = client_of(self._hub, 'rate limits', MAX_REQUESTS)
            return Service(client, url, domain, limit.name, config.ratelimit_timeout)
        if limit.keeper is Keeper.REDIS:
            return Redis(Windows(self._redis, limit.item, limit.name), self._threads)
        return Memory(Windows(self._memory, limit.item, limit.name))

    @cached_property
    def _memory(self) -> Storage:
        return MemoryStorage()

    @cached_property
    def _redis(self) -> Storage:
        return redis.storage(self._config.ratelimit_redis_url or '', self._config.ratelimit_timeout)

    @cached_property
    def _threads(self) -> Threads:
        return Threads(self._hub, REQUESTS * self._config.ratelimit_timeout)
