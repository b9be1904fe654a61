"""How the worker tells the web server, a process of its own, that it is alive and consuming.

A file, replaced every second by the worker's event loop:

    {"pid": 17, "state": "consuming", "time": 1767225600.0,
     "pollers": {"prod-add": {"state": "receiving", "last_receive": 1767225599.2,
                              "oldest_due": 1767225590.5}},
     "load": {"processes": 2, "busy": 1, "oldest_start": 1767225598.1,
              "prefetched": {"prod-add": 3}}}

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
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state as worker_state

__all__ = ['INTERVAL', 'Heartbeat', 'Load', 'Poller', 'State', 'install', 'read', 'write']

#: Seconds between two beats.
INTERVAL = 1.0


class State(str, Enum):
    """What the worker is doing."""

    STARTING = 'starting'
    CONSUMING = 'consuming'
    STOPPING = 'stopping'


@dataclass(frozen=True)
class Poller:
    """What receives from a queue.

    Arguments:
        state: a `be_queue.transport.poller.State`, by its value.
        last_receive: when its last receive ended, well or badly, in seconds since the epoch.
        oldest_due: when the oldest message of that receive was sent, or due if that is later; None
            when it brought none.
    """

    state: str
    last_receive: float
    oldest_due: float | None = None

    @property
    def age(self) -> float:
        """Seconds since the last receive ended."""
        return max(0.0, time.time() - self.last_receive)


@dataclass(frozen=True)
class Load:
    """What the worker has to do.

    Arguments:
        processes: of its pool.
        busy: those of them that run a task.
        oldest_start: when the oldest running task began, in seconds since the epoch.
        prefetched: messages held and not begun, by queue.
    """

    processes: int
    busy: int
    oldest_start: float | None
    prefetched: Mapping[str, int]


@dataclass(frozen=True)
class Heartbeat:
    """The worker's state at a time, in seconds since the epoch, and its pollers by queue.

    There is a load once it consumes.
    """

    pid: int
    state: State
    time: float
    pollers: Mapping[str, Poller] = field(default_factory=dict)
    load: Load | None = None

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
    return Heartbeat(
        pid=beat['pid'],
        state=State(beat['state']),
        time=beat['time'],
        pollers={queue: Poller(**poller) for queue, poller in beat.get('pollers', {}).items()},
        load=Load(**beat['load']) if beat.get('load') else None,
    )


def write(
    path: Path,
    state: State,
    pollers: Mapping[str, Poller] | None = None,
    load: Load | None = None,
) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    beat = Heartbeat(os.getpid(), state, time.time(), pollers or {}, load)
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
            # On the loop's first turn: by then the queues are consumed.
            parent.timer.call_after(0, self._beat, (parent,))
            self.timer = parent.timer.call_repeatedly(INTERVAL, self._beat, (parent,))

        def stop(self, parent: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()
            if not self.stopping:  # the connection was lost: the consumer starts anew
                write(path, State.STARTING)

        def _beat(self, parent: Any) -> None:
            state = State.STOPPING if self.stopping else State.CONSUMING
            write(path, state, _pollers(parent.task_consumer), _load(parent))

        def _told_to_stop(self, **_: Any) -> None:
            self.stopping = True
            write(path, State.STOPPING)

    app.steps['consumer'].add(Beat)


def _pollers(consumer: Any) -> dict[str, Poller]:
    receiving = getattr(consumer and consumer.channel, 'receiving', None)
    if receiving is None:  # another transport, or not consuming yet
        return {}
    ahead = time.time() - time.monotonic()
    return {
        queue: Poller(poller.state.value, poller.last_receive + ahead, poller.oldest_due)
        for queue, poller in receiving.pollers.items()
    }


def _load(parent: Any) -> Load:
    pool = getattr(parent.pool, '_pool', None)  # Celery's own; other kinds have none
    processes = len(getattr(pool, '_pool', ()))
    active = list(worker_state.active_requests)
    channel = parent.task_consumer and parent.task_consumer.channel
    return Load(
        processes=processes,
        # A process whose task is lost with it is not seen to end it at once.
        busy=min(len(active), processes),
        oldest_start=min((request.time_start for request in active), default=None),
        prefetched=_prefetched(channel, {request.message.delivery_tag for request in active}),
    )


def _prefetched(channel: Any, begun: set[str]) -> dict[str, int]:
    receiving = getattr(channel, 'receiving', None)
    if receiving is None:
        return {}
    begun = begun | channel.dead_letters.moving
    waiting = Counter(
        message.delivery_info['received_from']
        for tag, message in channel.held()
        if tag not in begun
    )
    return {queue: waiting[queue] for queue in receiving.pollers}
