"""Tells the pool's processes that the worker stops: only its main process gets the signal."""

from __future__ import annotations

import time
from multiprocessing.sharedctypes import RawValue
from typing import Any

from celery import signals

from be_queue.worker.settings import current

__all__ = ['overdue', 'sleep']

#: Seconds between two looks at whether the worker stops.
LOOK_INTERVAL = 0.2

# Made before the pool's processes, which share it: when the worker was told to stop, by the
# system-wide monotonic clock.
_told_at = RawValue('d', 0.0)


@signals.worker_shutting_down.connect
def _told(**_: Any) -> None:
    _told_at.value = _told_at.value or time.monotonic()


def overdue() -> bool:
    """Return whether the worker was told to stop RESULT_BACKEND_SHUTDOWN_TIMEOUT ago."""
    timeout = current().result_backend_shutdown_timeout
    return bool(_told_at.value) and time.monotonic() - _told_at.value >= timeout


def sleep(seconds: float) -> None:
    """Sleep, until `overdue` at most."""
    end = time.monotonic() + seconds
    while not overdue() and (left := end - time.monotonic()) > 0:
        time.sleep(min(LOOK_INTERVAL, left))
