"""Calls from kombu's event loop that come before it sleeps again, wherever they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ['Soon']


class Soon:
    """Calls a function soon: once, however often it was asked to until then.

    Asked from a timer, `Hub.call_soon` calls only after the loop has slept until the next timer or
    event. A timer of no delay comes before that, but of timers the loop fires ten at a time. So it
    is both, and whichever comes first.

    Arguments:
        hub: the event loop.
        callback: what is called.
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
