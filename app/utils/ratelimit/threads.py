"""Threads for what blocks, with their outcomes brought back to the event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ['Threads']

Result = TypeVar('Result')

#: Calls side by side. More wait for one of them; beyond twice as many, all are taken for hung.
WORKERS = 4


class Threads:
    """Runs functions beside the event loop.

    Arguments:
        hub: the event loop.
        timeout: seconds after which a call counts as failed. Its thread goes on; what it returns
            is dropped.
    """

    def __init__(self, hub: Any, timeout: float) -> None:
        self._hub = hub
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix='ratelimit')
        self._running = 0

    def run(
        self,
        work: Callable[[], Result],
        on_result: Callable[[Result], object],
        on_error: Callable[[Exception], object],
    ) -> None:
        """Call ``work`` in a thread, and then one of the other two in the event loop."""
        if self._running >= 2 * WORKERS:
            on_error(TimeoutError(f'{self._running} calls hang'))
            return
        self._running += 1
        is_late = False

        def expired() -> None:
            nonlocal is_late
            is_late = True
            on_error(TimeoutError(f'no answer for {self._timeout:g} s'))

        timer = self._hub.call_later(self._timeout, expired)

        def ended(outcome: Callable[[], object]) -> None:
            self._running -= 1
            if not is_late:
                timer.cancel()
                outcome()

        def call() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  (whatever it is, the event loop learns it)
                failure = error
                # Of the event loop's methods the one that another thread may call: it wakes it.
                self._hub.call_soon(ended, lambda: on_error(failure))
            else:
                self._hub.call_soon(ended, lambda: on_result(result))

        self._pool.submit(call)

    def close(self) -> None:
        """Start nothing more; calls that are under way may still call back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
