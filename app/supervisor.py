"""Runs children side by side: when one ends, all do.

    RUNNING --SIGTERM, SIGINT--> STOPPING --a second signal--> STOPPING AT ONCE --> ended, 0
       |                            |
       +---- a child ends ----------+--> the rest is stopped --> ended, 1

Children are stopped in the order given, each after the one before it has ended, so that the web
server tells of the worker until the worker is gone and the worker has a broker until the end.
"""

from __future__ import annotations

import contextlib
import logging
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from enum import Enum

from app.child import Child
from app.linux import LOOK_FOR_OOM, adopt_orphans, reap_orphans

__all__ = ['State', 'Supervisor']

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class State(Enum):
    """What the supervisor is doing."""

    RUNNING = 'running'
    STOPPING = 'stopping'
    STOPPING_AT_ONCE = 'stopping at once'


class _Interrupted(SystemExit):
    """A signal to stop came while nobody looked for one."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(0)
        self.number = number


class Supervisor:
    """Starts children, passes signals on, and stops them all when one ends.

    Use it as a context manager: whatever happens, no child outlives the block.
    """

    def __init__(self) -> None:
        self.state = State.RUNNING
        self._children: list[Child] = []
        self._failed = False
        self._interruptible = False
        self._asked: Child | None = None
        self._deadline: float | None = None

    def __enter__(self) -> Supervisor:
        adopt_orphans()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._restore = _signals_wake(self._wake_writer.fileno(), self._interrupt)
        self._restore.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill_group()
        self._restore.__exit__(None, None, None)
        self._wake_reader.close()
        self._wake_writer.close()

    def start(self, child: Child) -> None:
        """Start a child; those started first are stopped last."""
        child.start()
        self._children.insert(0, child)
        logger.debug('%s started: pid=%d', child.name, child.pid)

    def wait_until(self, condition: Callable[[], bool], interval: float = 0.1) -> bool:
        """Return True once ``condition()`` holds, False when the children are to be stopped."""
        while self.state is State.RUNNING:
            if condition():
                return True
            self._wait(interval)
        return False

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Have a signal to stop break into the block, which may wait for a server for minutes.

        Start no child within: it could be started and not yet known here.

        Raises `SystemExit` when a signal comes, and when the children are to be stopped already.
        """
        try:
            self._interruptible = True
            self._wait(0)
            if self.state is not State.RUNNING:
                self._interruptible = False
                raise SystemExit(self.run())
            yield
        except _Interrupted as interrupted:
            if self.state is State.RUNNING:
                self._told_to_stop(interrupted.number)
            raise
        finally:
            self._interruptible = False

    def run(self) -> int:
        """Wait until every child has ended; return 0 when that was asked for, else 1."""
        while running := [child for child in self._children if child.running]:
            if self.state is State.STOPPING:
                self._ask_to_stop(running[0])
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._kill(running if self.state is State.STOPPING_AT_ONCE else running[:1])
            self._wait(self._time_left())
        return 1 if self._failed else 0

    def _wait(self, timeout: float | None) -> None:
        """Sleep until a signal comes or the time is over; act on what has happened."""
        select.select([self._wake_reader], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            for number in self._wake_reader.recv(64):
                if number in _STOP_SIGNALS:
                    self._told_to_stop(signal.Signals(number))
        reap_orphans({child.pid for child in self._children})
        self._look_at_children()

    def _interrupt(self, number: int, _frame: object) -> None:
        if self._interruptible and number in _STOP_SIGNALS:
            # A second signal must not break into what ends the children.
            self._interruptible = False
            raise _Interrupted(signal.Signals(number))

    def _told_to_stop(self, number: signal.Signals) -> None:
        if self.state is State.RUNNING:
            logger.info('%s: stopping; running tasks finish, once more stops at once', number.name)
            self.state = State.STOPPING
        else:
            logger.warning('%s again: stopping at once', number.name)
            self.state = State.STOPPING_AT_ONCE
            haste = max((child.haste for child in self._children), default=0.0)
            self._deadline = time.monotonic() + haste
            for child in self._children:
                # Celery ends its tasks on SIGQUIT and hands their messages back.
                child.signal(signal.SIGQUIT)

    def _look_at_children(self) -> None:
        for child in self._children:
            if child.status is None:
                continue
            child.kill_group()  # what it left behind
            if self.state is State.RUNNING:
                hint = f'; {LOOK_FOR_OOM}' if child.status == -signal.SIGKILL else ''
                logger.error('%s %s: stopping the rest%s', child.name, child.describe_end(), hint)
                self._failed = True
                self.state = State.STOPPING

    def _ask_to_stop(self, child: Child) -> None:
        if child is not self._asked:
            self._asked = child
            self._deadline = None if child.grace is None else time.monotonic() + child.grace
            child.signal(child.stop_signal)

    def _kill(self, children: list[Child]) -> None:
        for child in children:
            logger.warning('%s did not end in time: killing it', child.name)
            child.kill_group()

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.01, self._deadline - time.monotonic())


@contextlib.contextmanager
def _signals_wake(descriptor: int, handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have signals written to ``descriptor``, and ``handler`` called with each."""
    numbers = (*_STOP_SIGNALS, signal.SIGCHLD)
    before = {number: signal.signal(number, handler) for number in numbers}
    wakeup = signal.set_wakeup_fd(descriptor)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, previous in before.items():
            signal.signal(number, previous)
