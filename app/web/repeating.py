"""Does something again and again, in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ['Repeating']

logger = logging.getLogger(__name__)


class Repeating:
    """A daemon thread that calls a function at once, and then after each pause.

    Arguments:
        name: of the thread, in logs.
        pause: seconds between two calls.
        call: what it raises is logged, once in a row.
    """

    def __init__(self, name: str, pause: float, call: Callable[[], object]) -> None:
        self._pause = pause
        self._call = call
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start; once only."""
        self._thread.start()

    def stop(self) -> None:
        """End before the next call; does not wait for one that goes on."""
        self._stopped.set()

    def _run(self) -> None:
        is_failing = False
        while True:
            try:
                self._call()
                is_failing = False
            except Exception:
                if not is_failing:
                    logger.exception('%s: it is tried again', self._thread.name)
                is_failing = True
            if self._stopped.wait(self._pause):
                return
