"""Threads for what blocks, with their outcomes brought back to the event loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
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
        self._ended: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        hub.add_reader(self._reader.fileno(), self._call_back)

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
                self._ended.put(lambda: ended(lambda: on_error(failure)))
            else:
                self._ended.put(lambda: ended(lambda: on_result(result)))
            # Full: it has not been read yet, and wakes the loop all the same. Closed: nobody waits.
            with contextlib.suppress(OSError):
                self._writer.send(b'.')

        self._pool.submit(call)

    def close(self) -> None:
        """Call back nobody any more."""
        self._hub.remove_reader(self._reader.fileno())
        self._reader.close()
        self._writer.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _call_back(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        with contextlib.suppress(Empty):
            while True:
                self._ended.get_nowait()()
