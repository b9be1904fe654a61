"""Checks that answer in time whatever hangs behind them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from be_queue.outage import brief

__all__ = ['Check', 'faults']

#: Seconds to wait for all outcomes together.
PATIENCE = 0.7
#: Seconds for which an outcome is used again, so that many callers cost one probe.
FRESHNESS = 1.0


class Check:
    """Runs ``probe`` in a thread of its own: ``start()`` it, then ask for its ``fault()``.

    A probe that hangs holds up nobody, and no second one is started beside it.

    Arguments:
        name: what is checked.
        probe: returns when all is well, raises what is wrong.
    """

    def __init__(self, name: str, probe: Callable[[], object]) -> None:
        self.name = name
        self._probe = probe
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started = self._finished = float('-inf')
        self._fault: str | None = None

    def start(self) -> None:
        """Start a probe, unless one runs or has just finished."""
        with self._lock:
            if self._thread is None and time.monotonic() - self._finished >= FRESHNESS:
                self._started = time.monotonic()
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def fault(self, deadline: float) -> str | None:
        """Return what is wrong, None when all is well; wait until ``deadline`` (monotonic)."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                # The last probe's words say more.
                return self._fault or f'no answer for {time.monotonic() - self._started:.1f} s'
        return self._fault

    def _run(self) -> None:
        try:
            self._probe()
            fault = None
        except Exception as error:  # noqa: BLE001  (the fault is the answer)
            fault = brief(error)
        with self._lock:
            self._fault, self._finished, self._thread = fault, time.monotonic(), None


def faults(checks: Iterable[Check]) -> dict[str, str | None]:
    """Return each check's fault by its name; all run side by side, for `PATIENCE` at most."""
    checks = list(checks)
    for check in checks:
        check.start()
    deadline = time.monotonic() + PATIENCE
    return {check.name: check.fault(deadline) for check in checks}
