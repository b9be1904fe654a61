"""Lets the soft time limit interrupt a task's own code and nothing else.

The pool enforces the limit with a signal that raises SoftTimeLimitExceeded wherever the process
happens to be. Around the task that is Celery at work: a success that waits for a result database
that is away would be turned into a failure. Within the task it may be a log line that is being
written: half of it would stay, and whoever catches all that goes wrong there would swallow the
limit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

__all__ = ['applies', 'hold_off', 'put_off']


class _PutOff:
    """A block after which the limit may interrupt, and not before: it must be short.

        with put_off:
            ...

    For what catches every exception, or would leave something half done. Blocks may be nested; in
    other threads, and where the limit does not apply, they change nothing. One object is quicker
    than a generator for each block: every log line is one.
    """

    __slots__ = ('depth', 'due', 'thread')

    def __init__(self) -> None:
        #: The number of the thread to which the limit applies, which is the main one; 0 is none.
        self.thread = 0
        #: Blocks that it is in.
        self.depth = 0
        #: Whether the limit came meanwhile.
        self.due = False

    def __enter__(self) -> None:
        if self.thread == get_ident():
            self.depth += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.thread != get_ident():
            return
        self.depth -= 1
        if self.due and not self.depth:
            self.due = False
            # What ends the process goes before.
            if kind is None or issubclass(kind, Exception):
                soft_timeout_sighandler(SIG_SOFT_TIMEOUT, None)


put_off = _PutOff()


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
    put_off.thread, put_off.depth, put_off.due = get_ident(), 0, False
    signal.signal(SIG_SOFT_TIMEOUT, _interrupt)
    try:
        yield
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, signal.SIG_IGN)
        put_off.thread = 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    if put_off.depth:
        put_off.due = True
    else:
        soft_timeout_sighandler(number, frame)
