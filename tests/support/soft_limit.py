"""The soft time limit, as the pool has it strike."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from billiard.pool import SIG_SOFT_TIMEOUT

from app.utils import soft_time_limit

__all__ = ['Striking', 'applying', 'strike']


def strike() -> None:
    """Send the signal to this process."""
    os.kill(os.getpid(), SIG_SOFT_TIMEOUT)


@contextmanager
def applying() -> Iterator[None]:
    """Have the limit apply, as it does around a task's code."""
    before = signal.getsignal(SIG_SOFT_TIMEOUT)
    soft_time_limit.hold_off()
    try:
        with soft_time_limit.applies():
            yield
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, before)


class Striking:
    """An object that the limit strikes while its text is made."""

    def __str__(self) -> str:
        strike()
        return 'struck'
