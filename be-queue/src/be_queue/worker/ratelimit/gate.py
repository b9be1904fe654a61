"""The permits of all queues, before the receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from be_queue.transport import Gate
from be_queue.worker.ratelimit.limiter import Fault, Limiter, LimiterError
from be_queue.worker.ratelimit.permits import OnError, OnGrant, Permits

__all__ = ['RateLimitGate']

#: Seconds between two additions to the time throttled.
ACCOUNT_INTERVAL = 1.0
#: Limiters that are asked at a time.
THREADS = 20


class RateLimitGate(Gate):
    """Admits messages for which there are permits; those of queues without a limit always.

    Limiters are asked in threads, since they block.

    Arguments:
        limiters: by queue.
        hub: the event loop.
        wake: called when more may be admitted.
        policy: see `Permits`.
    """

    def __init__(
        self,
        limiters: Mapping[str, Limiter],
        hub: Any,
        wake: Callable[[], object],
        policy: str,
    ) -> None:
        self._hub = hub
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix='ratelimit')
        self._permits = {
            queue: Permits(queue, self._asking(limiter), hub, wake, policy)
            for queue, limiter in limiters.items()
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
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _asking(self, limiter: Limiter) -> Callable[[int, OnGrant, OnError], object]:
        """Return a function that asks in a thread, and calls back in the event loop."""

        def call(count: int, on_grant: OnGrant, on_error: OnError) -> None:
            # Another thread may call this one method of the event loop, which wakes it.
            try:
                grant = limiter.acquire(count)
            except LimiterError as error:
                self._hub.call_soon(on_error, error)
            except Exception as error:  # noqa: BLE001  (the queue would wait for ever)
                fault = LimiterError(Fault.ABSURD, f'{type(error).__name__}: {error}')
                self._hub.call_soon(on_error, fault)
            else:
                self._hub.call_soon(on_grant, grant)

        return lambda *arguments: self._threads.submit(call, *arguments)

    def _account(self) -> None:
        for permits in self._permits.values():
            permits.account()
