"""Lets the soft time limit interrupt a task's own code and nothing else.

The pool enforces the limit with a signal. Celery's own handler raises SoftTimeLimitExceeded at
whatever line the process is: a success that waits for the result database would become a failure,
and a log handler, which catches all exceptions, would swallow the limit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard import pool
from celery import signals
from celery.exceptions import SoftTimeLimitExceeded

__all__ = ['SIGNAL', 'applies', 'put_off', 'strike']

SIGNAL = signal.SIGUSR1
_applies = False


class _PutOff:
    """A short block that the limit does not interrupt: it does so at the end of the block.

        with put_off:
            ...

    For code that catches every exception, or must not stop half-way. Blocks may be nested, and
    change nothing in threads that a task starts.
    """

    depth = 0
    is_due = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self.depth -= 1
            if self.is_due and not self.depth:
                strike()


put_off = _PutOff()


@contextmanager
def applies() -> Iterator[None]:
    """Let the limit interrupt the block."""
    global _applies
    before, _applies = _applies, True
    put_off.is_due = False
    try:
        yield
    finally:
        _applies = before


def strike(*_: object) -> None:
    """Raise SoftTimeLimitExceeded where the limit applies: the handler of `SIGNAL`."""
    put_off.is_due = _applies and put_off.depth > 0
    if _applies and not put_off.is_due:
        raise SoftTimeLimitExceeded


@signals.worker_process_init.connect
def _install(**_: Any) -> None:
    # The pool sets the handler when these signals are over.
    pool.soft_timeout_sighandler = strike
