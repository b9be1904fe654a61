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
from threading import get_ident

from celery.exceptions import SoftTimeLimitExceeded

__all__ = ['applies', 'hold_off', 'put_off']

SIGNAL = signal.SIGUSR1


class _PutOff:
    """A short block that the limit does not interrupt: it does so at the end of the block.

        with put_off:
            ...

    For code that catches every exception, or must not stop half-way. Blocks may be nested, and
    change nothing in threads that a task starts.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.is_due = False

    def __enter__(self) -> None:
        if _is_main_thread():
            self.depth += 1

    def __exit__(self, *_: object) -> None:
        if _is_main_thread():
            self.depth -= 1
            if self.is_due and not self.depth:
                _strike()


put_off = _PutOff()
_applies = False


def hold_off() -> None:
    """Ignore the limit until `applies` says otherwise."""
    # billiard sets its own handler after the process has started. To ask is quicker than to set.
    if signal.getsignal(SIGNAL) is not _strike:
        signal.signal(SIGNAL, _strike)


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


def _strike(*_: object) -> None:
    put_off.is_due = _applies and put_off.depth > 0
    if _applies and not put_off.is_due:
        raise SoftTimeLimitExceeded


def _is_main_thread() -> bool:
    return get_ident() == threading.main_thread().ident
