"""Helpers for kombu's event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ['Soon', 'run_until']

#: Seconds between two looks at the condition that the loop runs for.
PULSE_SECONDS = 0.05


class Soon:
    """Calls a function before the event loop sleeps again: once, however often it was asked to.

    Neither of kombu's own ways is enough: what a timer asks of `Hub.call_soon` is called only after
    the loop has slept, and of timers that are due the loop fires ten, then sleeps.

    Arguments:
        hub: the event loop.
        callback: the function.
    """

    def __init__(self, hub: Any, callback: Callable[[], object]) -> None:
        self._hub = hub
        self._callback = callback
        self._is_due = False

    def __call__(self) -> None:
        """Ask for the call."""
        if not self._is_due:
            self._is_due = True
            self._hub.call_soon(self._call)
            self._hub.call_later(0, self._call)

    def _call(self) -> None:
        if self._is_due:
            self._is_due = False
            self._callback()


def run_until(hub: Any, condition: Callable[[], bool], timeout: float) -> None:
    """Run an event loop that nobody else runs any more, for ``timeout`` seconds at most."""
    deadline = time.monotonic() + timeout
    # The loop sleeps until its next timer.
    pulse = hub.call_repeatedly(PULSE_SECONDS, lambda: None)
    loop = hub.create_loop()
    while not condition() and time.monotonic() < deadline:
        try:
            next(loop)
        except StopIteration:
            loop = hub.create_loop()
    pulse.cancel()
