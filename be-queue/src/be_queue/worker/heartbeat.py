"""How the worker tells the web server, a process of its own, that it is alive and consuming.

A file of JSON, a `Heartbeat`, replaced every second by the worker's event loop. Its times are in
seconds since the epoch.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state as worker_state
from pydantic import TypeAdapter

__all__ = ['Heartbeat', 'Load', 'Poller', 'State', 'install', 'read', 'seconds_since', 'write']

INTERVAL_SECONDS = 1.0


class State(str, Enum):
    """States of the worker."""

    #: It has not connected to the broker, or has lost it.
    STARTING = 'starting'
    #: The event loop runs; the heartbeat's time is that of its last turn.
    CONSUMING = 'consuming'
    #: It was told to stop: running tasks end, nothing new is taken.
    STOPPING = 'stopping'


def seconds_since(moment: float | None) -> float:
    """Return the seconds since a time of the epoch; 0 for None, and for a time to come."""
    return 0.0 if moment is None else max(0.0, time.time() - moment)


@dataclass(frozen=True)
class Poller:
    """Receives from a queue."""

    #: A `be_queue.transport.poller.State`, by its value.
    state: str
    #: When its last receive ended, well or badly.
    last_receive: float
    #: When the oldest message of that receive was sent, or due if that is later.
    oldest_due: float | None = None

    @property
    def age(self) -> float:
        """Seconds since the last receive ended."""
        return seconds_since(self.last_receive)


@dataclass(frozen=True)
class Load:
    """The worker's processes and tasks."""

    processes: int
    #: Those that run a task.
    busy: int
    #: When the oldest running task began.
    oldest_start: float | None
    #: Messages held and not begun, by queue.
    prefetched: Mapping[str, int]


@dataclass(frozen=True)
class Heartbeat:
    """The worker's state at a time; pollers are by queue."""

    pid: int
    state: State
    time: float
    pollers: Mapping[str, Poller] = field(default_factory=dict)
    load: Load | None = None

    @property
    def age(self) -> float:
        """Seconds since the beat."""
        return seconds_since(self.time)


_JSON = TypeAdapter(Heartbeat)


def read(path: Path) -> Heartbeat | None:
    """Return the last beat; None when there is none yet."""
    try:
        return _JSON.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def write(
    path: Path, state: State, pollers: Mapping[str, Poller] | None = None, load: Load | None = None
) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    beat = Heartbeat(os.getpid(), state, time.time(), pollers or {}, load)
    draft = path.with_suffix(f'.{beat.pid}')
    draft.write_bytes(_JSON.dump_json(beat))
    draft.replace(path)


def install(app: Celery, path: Path) -> None:
    """Have the app's worker write its heartbeat to ``path``."""

    class Beat(bootsteps.StartStopStep):
        """Beats from the consumer's event loop, for as long as it consumes."""

        requires = ('celery.worker.consumer.tasks:Tasks',)
        timer: Any = None
        stopping = False

        def __init__(self, parent: Any, **kwargs: Any) -> None:
            super().__init__(parent, **kwargs)
            signals.worker_shutting_down.connect(self._told_to_stop)
            write(path, State.STARTING)

        def start(self, parent: Any) -> None:
            # On the loop's first turn: by then the queues are consumed.
            parent.timer.call_after(0, self._beat, (parent,))
            self.timer = parent.timer.call_repeatedly(INTERVAL_SECONDS, self._beat, (parent,))

        def stop(self, parent: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()
            if not self.stopping:  # the connection was lost: the consumer starts anew
                write(path, State.STARTING)

        def _beat(self, parent: Any) -> None:
            state = State.STOPPING if self.stopping else State.CONSUMING
            pollers = _pollers(parent.task_consumer and parent.task_consumer.channel)
            write(path, state, pollers, _load(parent.pool.num_processes, pollers))

        def _told_to_stop(self, **_: Any) -> None:
            self.stopping = True
            write(path, State.STOPPING)

    app.steps['consumer'].add(Beat)


def _pollers(channel: Any) -> dict[str, Poller]:
    receiving = getattr(channel, 'receiving', None)
    if receiving is None:  # another transport, or not consuming yet
        return {}
    ahead = time.time() - time.monotonic()
    return {
        queue: Poller(poller.state.value, poller.last_receive + ahead, poller.oldest_due)
        for queue, poller in receiving.pollers.items()
    }


def _load(processes: int, queues: Mapping[str, Any]) -> Load:
    active = set(worker_state.active_requests)
    held = {*worker_state.reserved_requests, *worker_state.scheduled_requests} - active
    waiting = Counter(request.message.delivery_info.get('received_from') for request in held)
    # A process whose task is lost with it is not seen to end it at once.
    busy = min(len(active), processes)
    oldest = min((request.time_start for request in active), default=None)
    return Load(processes, busy, oldest, {queue: waiting[queue] for queue in queues})
