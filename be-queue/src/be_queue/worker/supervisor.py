"""Runs children side by side: when one ends, all do.

    RUNNING --SIGTERM, SIGINT--> STOPPING --a second signal--> STOPPING AT ONCE --> ended, 0
       |                            |
       +---- a child ends ----------+--> the rest is stopped --> ended, 1

Children that were started last are stopped first, so that the web server tells of the worker until
the worker is gone, and the worker has a broker until the end.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from be_queue.worker.linux import LOOK_FOR_OOM, adopt_orphans, die_with_parent, reap_orphans
from be_queue.worker.settings import current

__all__ = ['Child', 'State', 'Supervisor']

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds between two looks at the children and the signals.
LOOK_INTERVAL = 0.1


@dataclass
class Child:
    """A command that runs beside the others, in a session of its own."""

    #: For the log.
    name: str
    command: Sequence[str]
    #: Variables beside our own.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: File descriptors that it inherits.
    pass_fds: Sequence[int] = ()
    #: Asks it to end.
    stop_signal: signal.Signals = signal.SIGTERM
    #: Seconds it then has before it is killed; None is no limit.
    grace: float | None = 10.0
    #: Seconds that it has when it is to end at once.
    haste: float = 5.0
    process: subprocess.Popen[bytes] = field(init=False)
    _asked: bool = False
    _deadline: float = math.inf

    def start(self) -> None:
        """Start the process, out of reach of the terminal's Ctrl-C: we pass signals on."""
        self.process = subprocess.Popen(
            self.command,
            cwd=current().root,
            env={**os.environ, **self.environment},
            pass_fds=self.pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    def stop(self, at_once: bool = False) -> None:
        """Ask it to end, once; ``at_once`` has Celery end tasks and hand their messages back."""
        if at_once or not self._asked:
            self._asked = True
            seconds = self.haste if at_once else self.grace
            self._deadline = math.inf if seconds is None else time.monotonic() + seconds
            self.process.send_signal(signal.SIGQUIT if at_once else self.stop_signal)

    def kill_if_overdue(self) -> None:
        """Kill it when it runs although its time to end is over."""
        if time.monotonic() >= self._deadline:
            logger.warning('%s did not end in time: killing it', self.name)
            self.kill_group()

    def kill_group(self) -> None:
        """Kill the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class State(Enum):
    RUNNING = 'running'
    STOPPING = 'stopping'
    STOPPING_AT_ONCE = 'stopping at once'


class Supervisor:
    """Starts children, passes signals on, and stops them all when one ends.

    Use it as a context manager: whatever happens, no child outlives the block.
    """

    def __init__(self) -> None:
        self.state = State.RUNNING
        # Those that have not ended.
        self._groups: list[list[Child]] = []
        self._signals: list[int] = []
        self._failed = False
        self._interruptible = False

    def __enter__(self) -> Supervisor:
        adopt_orphans()
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill_group()

    def start(self, *children: Child) -> None:
        """Start children that are stopped together, before those that were started earlier."""
        group: list[Child] = []
        self._groups.insert(0, group)
        for child in children:
            child.start()
            group.append(child)
            logger.debug('%s started: pid=%d', child.name, child.process.pid)

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Return True once ``condition()`` holds, False when the children are to be stopped."""
        while self.state is State.RUNNING:
            if condition():
                return True
            time.sleep(LOOK_INTERVAL)
            self._look()
        return False

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Have a signal to stop break into the block, which may wait for a server for minutes.

        Start no child within: it could be started and not yet known here.

        Raises `SystemExit` when a signal comes, or has come.
        """
        self._interruptible = True
        try:
            if self._signals:
                raise SystemExit(0)
            yield
        finally:
            self._interruptible = False
            self._look()

    def run(self) -> int:
        """Wait until every child has ended; return 0 when that was asked for, else 1."""
        self._look()
        while self._children:
            if self.state is State.STOPPING:
                for child in next(filter(None, self._groups)):
                    child.stop()
            time.sleep(LOOK_INTERVAL)
            self._look()
        return 1 if self._failed else 0

    @property
    def _children(self) -> list[Child]:
        return [child for group in self._groups for child in group]

    def _on_signal(self, number: int, _frame: object) -> None:
        self._signals.append(number)
        if self._interruptible:
            # A second signal must not break into what ends the children.
            self._interruptible = False
            raise SystemExit(0)

    def _look(self) -> None:
        """Act on the signals that came and the children that ended."""
        while self._signals:
            self._told_to_stop(signal.Signals(self._signals.pop(0)))
        reap_orphans({child.process.pid for child in self._children})
        for group in self._groups:
            for child in list(group):
                if child.process.poll() is None:
                    child.kill_if_overdue()
                else:
                    group.remove(child)
                    self._ended(child)

    def _ended(self, child: Child) -> None:
        child.kill_group()  # what it left behind
        if self.state is State.RUNNING:
            status = child.process.returncode
            end = f'exited with status {status}'
            if status < 0:
                end = f'was killed by {signal.Signals(-status).name}'
            hint = f'; {LOOK_FOR_OOM}' if status == -signal.SIGKILL else ''
            logger.error('%s %s: stopping the rest%s', child.name, end, hint)
            self._failed = True
            self.state = State.STOPPING

    def _told_to_stop(self, number: signal.Signals) -> None:
        if self.state is State.RUNNING:
            logger.info('%s: stopping; running tasks finish, once more stops at once', number.name)
            self.state = State.STOPPING
        else:
            logger.warning('%s again: stopping at once', number.name)
            self.state = State.STOPPING_AT_ONCE
            for child in self._children:
                child.stop(at_once=True)
