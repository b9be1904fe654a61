"""The permits of all queues, before the receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.utils.ratelimit.keepers import Keepers
from app.utils.ratelimit.permits import Permits
from be_queue.transport.receiving.gate import Gate

__all__ = ['RateLimitGate']

#: Seconds between two additions to the time throttled.
ACCOUNT_INTERVAL = 1.0


class RateLimitGate(Gate):
    """Admits messages for which there are permits; those of queues without a limit always.

    Arguments:
        keepers: the queues' limiters; closed with the gate.
        hub: the event loop.
        wake: called when more may be admitted.
        policy: see `Permits`.
    """

    def __init__(
        self,
        keepers: Keepers,
        hub: Any,
        wake: Callable[[], object],
        policy: str,
    ) -> None:
        self._keepers = keepers
        self._permits = {
            queue: Permits(queue, limiter, hub, wake, policy)
            for queue, limiter in keepers.limiters.items()
        }
        self._timer = hub.call_repeatedly(ACCOUNT_INTERVAL, self._account)

    def is_open(self, queue: str) -> bool:
        permits = self._permits.get(queue)
        return permits is None or permits.is_open

    def admit(self, queue: str, count: int, room: int) -> int:
        permits = self._permits.get(queue)
        return count if permits is None else permits.admit(count, room)

    def settle(self, queue: str, admitted: int, taken: int, asked_at: float) -> None:
        permits = self._permits.get(queue)
        if permits is not None:
            permits.settle(admitted, taken, asked_at)

    def close(self) -> None:
        self._timer.cancel()
        for permits in self._permits.values():
            permits.close()
        self._keepers.close()

    def _account(self) -> None:
        for permits in self._permits.values():
            permits.account()
