"""Windows by the clock, counted by the `limits` library in memory or in Redis.

redis is imported where limits are kept in it: it takes as long to import as Celery.
"""

from __future__ import annotations

import time
from typing import Any, cast
from urllib.parse import urlsplit

from limits import RateLimitItem
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from be_queue.redact import redact
from be_queue.worker.ratelimit.limiter import Fault, Grant, LimiterError

__all__ = ['Windows', 'storage']

SCHEMES = ('redis', 'rediss', 'redis+unix')


def storage(url: str | None, timeout: float) -> Storage:
    """Return where limits are counted; does not connect yet.

    Arguments:
        url: of Redis, such as ``redis://host:6379/0``; None is this process's memory.
        timeout: seconds for each request.

    Raises ValueError for a URL that cannot be used; its text shows no part of it.
    """
    if url is None:
        return MemoryStorage()
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # The libraries' own messages would show a part of the password.
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and '://' in url and parts.port != 0
        if not usable or '@' in f'{parts.path}{parts.query}{parts.fragment}':
            raise ValueError
        # Without retries: the permits of a queue ask again, by a policy.
        options: dict[str, Any] = {'retry': Retry(NoBackoff(), 0)}
        options |= {'socket_timeout': timeout, 'socket_connect_timeout': timeout}
        made = cast(Any, storage_from_string(url, **options))
        # Raises for options that Redis does not know, without a connection.
        made.get_connection().connection_pool.make_connection()
    except Exception:  # noqa: BLE001  (of two libraries, for whatever is in a URL)
        raise ValueError(
            'must be a URL such as redis://host:6379/0, rediss://... or redis+unix://..., with '
            "'/', '?' and '#' of a password written as %2F, %3F and %23"
        ) from None
    return cast(Storage, made)


class Windows:
    """One limit, shared by all that count in the same storage.

    Arguments:
        storage: where it is counted.
        item: messages by time.
        name: tells it from other limits.
    """

    def __init__(self, storage: Storage, item: RateLimitItem, name: str) -> None:
        # Of the strategies the one that keeps two numbers and counts nothing for a refusal. It gets
        # a key for each window and so never sees a second one: they begin at full units of time.
        self._counter = SlidingWindowCounterRateLimiter(storage)
        self._item = item
        self._name = name
        self._length = float(item.get_expiry())

    def acquire(self, count: int) -> Grant:
        """See `Limiter`."""
        window = int(time.time() // self._length)
        key = (self._item, self._name, str(window))
        granted, is_more_left = count, True
        try:
            if not self._counter.hit(*key, cost=count):
                granted, is_more_left = 0, False
                if count > 1:
                    remaining = self._counter.get_window_stats(*key).remaining
                    granted = min(count - 1, int(remaining))
                if granted and not self._counter.hit(*key, cost=granted):
                    granted, is_more_left = 0, True  # others came first; there may be fewer
        except Exception as error:
            raise _limiter_error(error) from error
        # After the answer, which may have taken its time.
        left = max((window + 1) * self._length - time.time(), 0.0)
        return Grant(count, granted, left, 0.0 if is_more_left else left, self._length)


def _limiter_error(error: Exception) -> LimiterError:
    from redis import exceptions

    fault = Fault.REFUSED
    # redis-py takes a wrong password for a broken connection.
    if not isinstance(error, exceptions.AuthenticationError):
        if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
            fault = Fault.TIMEOUT
        elif isinstance(error, (OSError, exceptions.ConnectionError)):
            fault = Fault.UNREACHABLE
    return LimiterError(fault, str(redact(f'{type(error).__name__}: {error}')))
