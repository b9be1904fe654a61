"""Lets the soft time limit interrupt a task's own code and nothing else.

The pool enforces the limit with a signal that raises SoftTimeLimitExceeded wherever the process
happens to be. Around the task that is Celery at work: a success that waits for a result database
that is away would be turned into a failure.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

__all__ = ['applies', 'hold_off']


def hold_off() -> None:
    """Ignore the limit until `applies` says otherwise."""
    # As it is after the process's first task: to ask is quicker than to set.
    if signal.getsignal(SIG_SOFT_TIMEOUT) is not signal.SIG_IGN:
        signal.signal(SIG_SOFT_TIMEOUT, signal.SIG_IGN)


@contextmanager
def applies() -> Iterator[None]:
    """Let the limit interrupt the block, where it is held off before and after."""
    held_off = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(SIG_SOFT_TIMEOUT) is signal.SIG_IGN
    )
    if not held_off:
        yield
        return
    signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    try:
        yield
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, signal.SIG_IGN)
