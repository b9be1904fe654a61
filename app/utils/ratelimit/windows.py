"""Windows by the clock, counted by the `limits` library in memory or in Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import redis
from limits.strategies import SlidingWindowCounterRateLimiter

from app.utils.ratelimit.limiter import Fault, Grant, LimiterError
from be_queue.redact import redact

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage

__all__ = ['Windows']


class Windows:
    """One limit, shared by all that count in the same place.

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
        #: The last window in which this process was granted something, and how much.
        self._had = (0, 0)

    def acquire(self, count: int) -> Grant:
        """See `Limiter`."""
        if count < 1:
            # Less than none would be added to what is left.
            raise LimiterError(Fault.ABSURD, f'{count} permits asked for: must be 1 at least')
        window = int(time.time() // self._length)
        had = self._had[1] if self._had[0] == window else 0
        # This process's own permits need no question.
        left = self._item.amount - had
        if not left:
            return self._none(window, 0)
        try:
            grant = self._acquire(window, min(count, left))
        except Exception as error:
            raise _limiter_error(error) from error
        self._had = window, had + grant.permits
        return grant

    def _acquire(self, window: int, asked: int) -> Grant:
        granted = asked
        if not self._hit(window, asked):
            granted = min(asked - 1, self._remaining(window)) if asked > 1 else 0
            if not granted:
                return self._none(window, asked)
            if not self._hit(window, granted):
                # Others came first; there may be fewer.
                return Grant(asked, 0, self._left(window), 0.0, self._length)
        # Granted in part, the window is used up.
        left = self._left(window)
        return Grant(asked, granted, left, left if granted < asked else 0.0, self._length)

    def _none(self, window: int, asked: int) -> Grant:
        left = self._left(window)
        return Grant(asked, 0, left, left, self._length)

    def _left(self, window: int) -> float:
        # Asked for after the answer is there, which may have taken its time.
        return max((window + 1) * self._length - time.time(), 0.0)

    def _remaining(self, window: int) -> int:
        return int(self._counter.get_window_stats(self._item, self._name, str(window)).remaining)

    def _hit(self, window: int, count: int) -> bool:
        return self._counter.hit(self._item, self._name, str(window), cost=count)


def _limiter_error(error: Exception) -> LimiterError:
    text = str(redact(f'{type(error).__name__}: {error}'))
    # redis-py takes a wrong password for a broken connection.
    if isinstance(error, redis.AuthenticationError):
        return LimiterError(Fault.REFUSED, text)
    if isinstance(error, (TimeoutError, redis.TimeoutError)):
        return LimiterError(Fault.TIMEOUT, text)
    if isinstance(error, (OSError, redis.ConnectionError)):
        return LimiterError(Fault.UNREACHABLE, text)
    return LimiterError(Fault.REFUSED, text)
