"""How the worker tells the web server, a process of its own, that it is alive and consuming.

A file, replaced every second by the worker's event loop:

    {"pid": 17, "state": "consuming", "time": 1767225600.0}

| state     | meaning                                                       |
|-----------|---------------------------------------------------------------|
| starting  | the worker has not connected to the broker, or has lost it    |
| consuming | the event loop runs; the time is that of its last turn        |
| stopping  | it was told to stop: running tasks end, nothing new is taken  |
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps, signals

__all__ = ['INTERVAL', 'Heartbeat', 'State', 'install', 'read', 'write']

#: Seconds between two beats.
INTERVAL = 1.0


class State(str, Enum):
    """What the worker is doing."""

    STARTING = 'starting'
    CONSUMING = 'consuming'
    STOPPING = 'stopping'


@dataclass(frozen=True)
class Heartbeat:
    """The worker's state at a time, in seconds since the epoch."""

    pid: int
    state: State
    time: float

    @property
    def age(self) -> float:
        """Seconds since the beat."""
        return max(0.0, time.time() - self.time)


def read(path: Path) -> Heartbeat | None:
    """Return the last beat; None when there is none yet."""
    try:
        beat = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return Heartbeat(pid=beat['pid'], state=State(beat['state']), time=beat['time'])


def write(path: Path, state: State) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    beat = Heartbeat(pid=os.getpid(), state=state, time=time.time())
    draft = path.with_suffix(f'.{beat.pid}')
    draft.write_text(json.dumps(asdict(beat)))
    draft.replace(path)


def install(app: Celery, path: Path) -> None:
    """Have the app's worker write its heartbeat to ``path``."""

    class Beat(bootsteps.StartStopStep):
        """Beats from the consumer's event loop, for as long as it consumes."""

        requires = ('celery.worker.consumer.tasks:Tasks',)

        def __init__(self, parent: Any, **kwargs: Any) -> None:
            super().__init__(parent, **kwargs)
            self.stopping = False
            self.timer: Any = None
            signals.worker_shutting_down.connect(self._told_to_stop)
            write(path, State.STARTING)

        def start(self, parent: Any) -> None:
            self._beat()
            self.timer = parent.timer.call_repeatedly(INTERVAL, self._beat)

        def stop(self, parent: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()
            if not self.stopping:  # the connection was lost: the consumer starts anew
                write(path, State.STARTING)

        def _beat(self) -> None:
            write(path, State.STOPPING if self.stopping else State.CONSUMING)

        def _told_to_stop(self, **_: Any) -> None:
            self.stopping = True
            write(path, State.STOPPING)

    app.steps['consumer'].add(Beat)
