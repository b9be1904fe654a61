"""Many workers on one rate limit, in simulated time: each with its own poller, permits and limiter.

Simulated are the clock, SQS with a backlog without an end, the pools, and the store in which the
windows are counted: it is that of `limits` in memory, shared by all workers as Redis would be.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from limits import parse
from limits.storage import MemoryStorage

from be_queue.worker.ratelimit import permits
from be_queue.worker.ratelimit.windows import Windows
from tests.support.simulation import SimulatedHub, SimulatedWorker

__all__ = ['Fleet', 'simulated']

QUEUE = 'limited'
#: Seconds that a request to Redis takes.
REDIS_SECONDS = 0.002
#: Children of a worker.
CHILDREN = 4


@dataclass(frozen=True)
class Fleet:
    """The work of workers on one limit.

    Arguments:
        amount: messages that the limit allows in a window.
        windows: messages of each whole window, by when their receives began.
        workers: messages of each worker in these.
        receives: receives in these.
        questions: requests to the limiter's store in these.
    """

    amount: int
    windows: list[int]
    workers: list[int]
    receives: int
    questions: int

    @property
    def used(self) -> float:
        """The part of the limit that was used."""
        return sum(self.windows) / len(self.windows) / self.amount


class Store(MemoryStorage):
    """Counts the requests; each would be one to Redis."""

    questions = 0

    def acquire_sliding_window_entry(self, *args: Any, **kwargs: Any) -> bool:
        self.questions += 1
        return super().acquire_sliding_window_entry(*args, **kwargs)

    def get_sliding_window(self, *args: Any, **kwargs: Any) -> tuple[int, float, int, float]:
        self.questions += 1
        return super().get_sliding_window(*args, **kwargs)


class Loop:
    """The event loop of one worker: a timer of another gives it no turn."""

    def __init__(self, hub: SimulatedHub) -> None:
        self.on_tick: set[Callable[[], object]] = set()
        self._hub = hub

    @property
    def now(self) -> float:
        return self._hub.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any:
        def turn() -> None:
            callback(*args)
            for tick in self.on_tick:
                tick()

        return self._hub.call_later(delay, turn)

    call_soon = SimulatedHub.call_soon
    call_repeatedly = SimulatedHub.call_repeatedly


class Worker(SimulatedWorker):
    """Remembers when its receives began, and what they returned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.receives: list[tuple[float, int]] = []
        super().__init__(*args, **kwargs)

    def receive(self, queue: str, count: int, wait: bool, on_success: Any, on_error: Any) -> None:
        asked_at = self.hub.now

        def received(answer: dict[str, Any]) -> None:
            self.receives.append((asked_at, len(answer['Messages'])))
            on_success(answer)

        super().receive(queue, count, wait, received, on_error)


def simulated(limit: str, size: int, windows: int, run_seconds: float = 0.1) -> Fleet:
    """Run workers on one limit until so many of its windows have passed; the same each time.

    Arguments:
        limit: such as ``100/minute``.
        size: workers.
        run_seconds: seconds that a task takes.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        hub, store, item = SimulatedHub(monkeypatch), Store(), parse(limit)
        length = float(item.get_expiry())
        hub.now = begin = (hub.now // length + 1.5) * length
        chance = random.Random(0)
        monkeypatch.setattr(permits, 'random', chance)

        def submit(ask: Callable[[], object]) -> None:
            hub.call_later(REDIS_SECONDS, ask)

        threads = SimpleNamespace(submit=submit, shutdown=lambda **_: None)
        monkeypatch.setattr(permits, 'ThreadPoolExecutor', lambda *_, **__: threads)
        backlog = Counter({QUEUE: 10**9})
        workers: list[Worker] = []

        def start() -> None:
            loop = Loop(hub)

            def gate(wake: Callable[[], object]) -> permits.RateLimitGate:
                limiters = {QUEUE: Windows(store, item, QUEUE)}
                return permits.RateLimitGate(limiters, loop, wake, 'closed')

            run_times = {QUEUE: run_seconds}
            workers.append(Worker(loop, CHILDREN, run_times, backlog=backlog, gate=gate))

        # Not all start in the same moment, nor at the start of a window.
        for _ in range(size):
            hub.call_later(chance.uniform(0, length / 2), start)
        first = begin + length / 2
        hub.run_for(first - hub.now)
        before = store.questions
        hub.run_for(windows * length)
        questions = store.questions - before
        # Those that have begun within the time.
        hub.run_for(1)
        end = first + windows * length
        received = [
            [(at, count) for at, count in worker.receives if first <= at < end]
            for worker in workers
        ]
        by_window = Counter[int]()
        for at, count in (each for of_worker in received for each in of_worker):
            by_window[int((at - first) // length)] += count
        return Fleet(
            item.amount,
            [by_window[n] for n in range(windows)],
            [sum(count for _, count in of_worker) for of_worker in received],
            sum(map(len, received)),
            questions,
        )
