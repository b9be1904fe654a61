"""Windows by the clock, counted by the `limits` library in memory or in Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from limits.strategies import SlidingWindowCounterRateLimiter

from app.utils.ratelimit.limiter import Fault, Grant, LimiterError, OnError, OnGrant

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage

__all__ = ['Memory', 'Windows']


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
        self.amount = item.amount
        self.length = float(item.get_expiry())

    def acquire(self, count: int) -> Grant:
        """Return up to ``count`` permits; may block."""
        if count < 1:
            # Less than none would be added to what is left.
            raise LimiterError(Fault.ABSURD, f'{count} permits asked for: must be 1 at least')
        window = self.current()
        asked = granted = min(count, self.amount)
        if not self._hit(window, asked):
            granted = min(asked - 1, self._remaining(window)) if asked > 1 else 0
            if not granted:
                return self.none(window, asked)
            if not self._hit(window, granted):
                # Others came first; there may be fewer.
                return Grant(asked, 0, self._left(window), 0.0, self.length)
        # Granted in part, the window is used up.
        left = self._left(window)
        return Grant(asked, granted, left, left if granted < asked else 0.0, self.length)

    def none(self, window: int, asked: int = 0) -> Grant:
        """Return the answer that there are no more in a window."""
        left = self._left(window)
        return Grant(asked, 0, left, left, self.length)

    def current(self) -> int:
        """Return the number of the present window."""
        return int(time.time() // self.length)

    def _left(self, window: int) -> float:
        # Asked for after the answer is there, which may have taken its time.
        return max((window + 1) * self.length - time.time(), 0.0)

    def _remaining(self, window: int) -> int:
        return int(self._counter.get_window_stats(self._item, self._name, str(window)).remaining)

    def _hit(self, window: int, count: int) -> bool:
        return self._counter.hit(self._item, self._name, str(window), cost=count)


class Memory:
    """Counts in this process, for it alone."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def ask(self, count: int, on_grant: OnGrant, on_error: OnError) -> None:
        """See `Limiter`."""
        try:
            grant = self._windows.acquire(count)
        except LimiterError as error:
            on_error(error)
        else:
            on_grant(grant)
