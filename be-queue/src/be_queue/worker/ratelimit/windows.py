"""Windows by the clock, counted by the `limits` library in memory or in Redis."""

from __future__ import annotations

import time
from typing import Any, cast

from limits import RateLimitItem
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from be_queue.outage import brief
from be_queue.worker.ratelimit.limiter import Fault, Grant, LimiterError

__all__ = ['Windows', 'storage']

SCHEMES = ('redis://', 'rediss://', 'redis+unix://')


def storage(url: str | None, timeout: float) -> Storage:
    """Return where limits are counted; does not connect yet.

    Arguments:
        url: of Redis, such as ``redis://host:6379/0``; None is this process's memory.
        timeout: seconds for each request.

    Raises ValueError for a URL that cannot be used; its text shows no part of it.
    """
    if url is None:
        return MemoryStorage()
    # The libraries' own messages would show a part of the password.
    try:
        if not url.startswith(SCHEMES):
            raise ValueError
        options: dict[str, Any] = {'socket_timeout': timeout, 'socket_connect_timeout': timeout}
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
        permits, is_used_up = count, False
        try:
            if not self._counter.hit(*key, cost=count):
                permits, is_used_up = 0, True
                if count > 1:
                    remaining = self._counter.get_window_stats(*key).remaining
                    permits = min(count - 1, int(remaining))
                if permits and not self._counter.hit(*key, cost=permits):
                    permits, is_used_up = 0, False  # others came first; there may be fewer
        except Exception as error:
            raise _limiter_error(error) from error
        # After the answer, which may have taken its time.
        ends_in = max((window + 1) * self._length - time.time(), 0.0)
        return Grant(permits, ends_in, is_used_up, self._length)


def _limiter_error(error: Exception) -> LimiterError:
    from redis import exceptions  # takes as long to import as Celery

    fault = Fault.REFUSED
    # redis-py takes a wrong password for a broken connection.
    if not isinstance(error, exceptions.AuthenticationError):
        if isinstance(error, exceptions.TimeoutError):
            fault = Fault.TIMEOUT
        elif isinstance(error, exceptions.ConnectionError):
            fault = Fault.UNREACHABLE
    return LimiterError(fault, brief(error))
