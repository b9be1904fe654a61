"""Simulated time for the choice of what a worker receives next: children, queues and an event loop.

Nothing here depends on how fast the machine is: the clock stands still between two events.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from be_queue.transport.capacity import Capacity
from be_queue.transport.observer import Observer
from be_queue.transport.receiving import Gate, Receiving

__all__ = ['SimulatedGate', 'SimulatedHub', 'SimulatedWorker']

#: Seconds that SQS takes to answer, and that it waits when a queue is empty.
ANSWER_SECONDS = 0.005
LONG_POLL_SECONDS = 1.0
#: Events after which a simulation is stuck.
MAX_EVENTS = 1_000_000


class SimulatedHub:
    """An event loop whose clock jumps to the next timer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        #: Called before the clock jumps.
        self.on_tick: set[Callable[[], object]] = set()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = itertools.count()
        monkeypatch.setattr(time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(time, 'time', lambda: self.now)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Any:
        return self.call_later(0, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any:
        timer = SimpleNamespace(cancelled=False)
        timer.cancel = lambda: setattr(timer, 'cancelled', True)

        def fire() -> None:
            if not timer.cancelled:
                callback(*args)

        heapq.heappush(self._timers, (self.now + delay, next(self._serial), fire))
        return timer

    def call_repeatedly(self, interval: float, callback: Callable[[], object]) -> Any:
        def fire() -> None:
            if not timer.cancelled:
                callback()
                self.call_later(interval, fire)

        timer = self.call_later(interval, fire)
        return timer

    def run_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(MAX_EVENTS):
            if condition():
                return
            for tick in self.on_tick:
                tick()
            self.now, _, fire = heapq.heappop(self._timers)
            fire()
        raise AssertionError('the condition never holds')

    def run_for(self, seconds: float) -> None:
        end = self.now + seconds
        self.call_later(seconds, lambda: None)
        self.run_until(lambda: self.now >= end)


class SimulatedGate(Gate):
    """Admits as many messages of a queue as it has permits, and any number without an entry."""

    def __init__(self) -> None:
        self.permits: dict[str, int] = {}
        self.settled: list[tuple[int, int]] = []
        self.is_closed = False

    def is_open(self, queue: str) -> bool:
        return self.permits.get(queue, 1) > 0

    def admit(self, queue: str, count: int, room: int) -> int:
        if queue not in self.permits:
            return count
        assert 1 <= count <= room
        admitted = min(count, self.permits[queue])
        self.permits[queue] -= admitted
        return admitted

    def settle(self, queue: str, admitted: int, taken: int, asked_at: float) -> None:
        assert asked_at <= time.monotonic()
        if queue in self.permits:
            self.settled.append((admitted, taken))
            self.permits[queue] += admitted - taken

    def close(self) -> None:
        self.is_closed = True


class SimulatedWorker:
    """A channel whose queues are counters and whose children are timers.

    Arguments:
        run_times: seconds that a task of each queue takes.
        weights: of queues whose weight is not 1.
        seconds: see `Capacity`.
        backlog: messages of each queue on SQS, which several workers may share.
        gate: makes the gate, of what it calls to wake the worker.
    """

    def __init__(
        self,
        hub: SimulatedHub,
        children: int,
        run_times: Mapping[str, float],
        weights: Mapping[str, float] | None = None,
        seconds: float = 1.0,
        backlog: Counter[str] | None = None,
        gate: Callable[[Callable[[], object]], Any] = lambda _: SimulatedGate(),
    ) -> None:
        self.hub = hub
        self.capacity = Capacity(seconds)
        self.gate = gate(lambda: self.receiving.wake())
        self.observer = Observer()
        self.qos = SimpleNamespace(prefetch_count=children)
        self.connection = SimpleNamespace(polling_interval=0.05)
        self.backlog: Counter[str] = Counter() if backlog is None else backlog
        self.failing: set[str] = set()
        #: Queues whose messages are for later: none of them is taken.
        self.for_later: set[str] = set()
        self.done: Counter[str] = Counter()
        self.busy_seconds: defaultdict[str, float] = defaultdict(float)
        self.most_held = 0
        self._run_times = run_times
        self._waiting: deque[tuple[str, str]] = deque()
        self._running = 0
        self._tags = itertools.count()
        self.receiving = Receiving(self, self.capacity, weights or {})
        hub.on_tick.add(self.receiving.dispatch)
        for queue in run_times:
            self.receiving.start(queue)

    def share(self, queue: str) -> float:
        """Return the part of the children's time that a queue's tasks had."""
        return self.busy_seconds[queue] / sum(self.busy_seconds.values())

    def consumes(self, queue: str) -> bool:
        return True

    def receive(self, queue: str, count: int, wait: bool, on_success: Any, on_error: Any) -> None:
        asked_at = self.hub.now

        def answer() -> None:
            if queue in self.failing:
                on_error(ConnectionError('on purpose'))
            elif self.backlog[queue]:
                number = min(count, self.backlog[queue])
                self.backlog[queue] -= number
                on_success({'Messages': [{} for _ in range(number)]})
            elif wait and self.hub.now - asked_at < LONG_POLL_SECONDS:
                self.hub.call_later(ANSWER_SECONDS, answer)
            else:
                on_success({})

        self.hub.call_later(ANSWER_SECONDS, answer)

    def deliver(self, queue: str, messages: list[Any]) -> tuple[int, float | None]:
        if queue in self.for_later:
            return 0, None
        for _ in messages:
            tag = f'{queue} {next(self._tags)}'
            self.capacity.received(tag, queue)
            self._waiting.append((tag, queue))
        self.most_held = max(self.most_held, self._running + len(self._waiting))
        self._fill()
        return len(messages), None

    def _fill(self) -> None:
        while self._waiting and self._running < self.qos.prefetch_count:
            self._running += 1
            tag, queue = self._waiting.popleft()
            self.hub.call_later(self._run_times[queue], self._ended, tag, queue)

    def _ended(self, tag: str, queue: str) -> None:
        self._running -= 1
        self.done[queue] += 1
        self.busy_seconds[queue] += self._run_times[queue]
        self.capacity.settled(tag)
        self.receiving.settled()
        self._fill()
