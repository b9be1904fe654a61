"""The soft time limit, as the pool has it strike."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from be_queue.worker import soft_time_limit

__all__ = ['Striking', 'applying', 'strike']


def strike() -> None:
    """Send the signal to this process."""
    os.kill(os.getpid(), soft_time_limit.SIGNAL)


@contextmanager
def applying() -> Iterator[None]:
    """Have the limit apply as it does around a task: not to what strikes before and after it."""
    before = signal.signal(soft_time_limit.SIGNAL, soft_time_limit.strike)
    try:
        strike()
        with soft_time_limit.applies():
            yield
        strike()
    finally:
        signal.signal(soft_time_limit.SIGNAL, before)


class Striking:
    """An object that the limit strikes while its text is made."""

    def __str__(self) -> str:
        strike()
        return 'struck'
