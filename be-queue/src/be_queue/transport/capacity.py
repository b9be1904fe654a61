"""How much a worker holds: about a second of work, and at least a message for each child.

Fifty messages of 20 ms are a second of work, and fetching them one by one would leave the children
idle. Two messages of a minute are one too many: an idle worker could run it. Hence work is counted
in seconds, by the run time that each queue's tasks have shown.

Run times are seen from outside: a message that is received starts at once while a child is free;
else the oldest that waits starts when another is settled.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

__all__ = ['DEFAULT_SECONDS', 'MAX_PER_CHILD', 'MIN_RUN_TIME', 'Capacity']

#: Seconds of work for each child that a worker holds.
DEFAULT_SECONDS = 1.0
#: Messages for each child beyond which holding more makes nothing faster.
MAX_PER_CHILD = 50
#: Seconds that a task is assumed to take at least.
MIN_RUN_TIME = 1e-4
#: Weight of a new run time in the mean.
NEW_WEIGHT = 0.1


class Capacity:
    """The messages that a worker holds, and how many more it may.

    Arguments:
        seconds: seconds of work for each child; 0 is one message for each.
    """

    def __init__(self, seconds: float = DEFAULT_SECONDS) -> None:
        #: Messages that may always be held: kombu's prefetch count; 0 is no limit.
        self.children = 0
        self.seconds = seconds
        #: Queue and start of each message that runs, as far as can be seen from here.
        self._running: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, str] = {}
        self._waiting_of: Counter[str] = Counter()
        #: Messages that receives in flight are expected to return.
        self._expected: Counter[str] = Counter()
        self._run_times: dict[str, float] = {}
        #: A message had to be handed back, and no child has become free since.
        self._is_stalled = False

    @property
    def held(self) -> int:
        """Messages held or expected."""
        return len(self._running) + len(self._waiting) + self._expected.total()

    def run_time(self, queue: str) -> float:
        """Return the run time of the queue's tasks in seconds, 0 while it is unknown."""
        return max(self._run_times.get(queue, 0.0), self._oldest().get(queue, 0.0))

    def received(self, tag: str, queue: str, due_in: float = 0.0) -> None:
        """Count a message that is held from now on; its task starts in ``due_in`` seconds."""
        if len(self._running) < self.children:
            self._running[tag] = queue, time.monotonic() + due_in
        else:
            self._waiting[tag] = queue
            self._waiting_of[queue] += 1

    def settled(self, tag: str) -> None:
        """Drop a message that was acknowledged or rejected."""
        self._is_stalled = False
        started = self._running.pop(tag, None)
        if started is None:
            self._drop_waiting(tag)
            return
        queue, since = started
        now = time.monotonic()
        took = max(0.0, now - since)
        mean = self._run_times.setdefault(queue, took)
        self._run_times[queue] = mean + NEW_WEIGHT * (took - mean)
        if self._waiting:
            tag = next(iter(self._waiting))
            queue = self._waiting.pop(tag)
            self._waiting_of[queue] -= 1
            self._running[tag] = queue, now

    def returned(self, tag: str) -> None:
        """Drop a message that no child could take; there is no room until one is free."""
        self._running.pop(tag, None)
        self._drop_waiting(tag)
        # When nothing runs there is nothing whose end would make room again.
        self._is_stalled = bool(self._running)

    def expect(self, queue: str, count: int) -> None:
        """Count messages that were asked for; a negative number takes that back."""
        self._expected[queue] += count

    def room(self, queue: str) -> int:
        """Return how many more messages of the queue may be asked for."""
        if self._is_stalled:
            return 0
        if not self.children:
            return MAX_PER_CHILD
        oldest, held = self._oldest(), self.held
        work_left = self.children * self.seconds - self._work(oldest)
        # The rest of the second takes one message more, however long its task.
        by_work = max(int(work_left / self._cost(queue, oldest)), int(work_left > 0))
        wanted = max(self.children - held, by_work)
        return max(0, min(wanted, self.children * MAX_PER_CHILD - held))

    def worth_asking(self, queue: str) -> int:
        """Return the room from which on a receive comes back well filled."""
        return max(1, int(self.children * self.seconds / self._cost(queue, self._oldest()) / 2))

    def _drop_waiting(self, tag: str) -> None:
        queue = self._waiting.pop(tag, None)
        if queue is not None:
            self._waiting_of[queue] -= 1

    def _work(self, oldest: Mapping[str, float]) -> float:
        """Return the seconds of work that are held or expected."""
        work = 0.0
        for queue, _ in self._running.values():
            # However long it runs, it occupies one child and leaves the others.
            work += min(self._cost(queue, oldest), self.seconds)
        for counts in (self._waiting_of, self._expected):
            for queue, count in counts.items():
                work += count * self._cost(queue, oldest)
        return work

    def _cost(self, queue: str, oldest: Mapping[str, float]) -> float:
        # A task that runs for longer than the others has shown that they all may; one of which
        # nothing is known may be long.
        mean = self._run_times.get(queue, self.seconds)
        return max(mean, oldest.get(queue, 0.0), MIN_RUN_TIME)

    def _oldest(self) -> dict[str, float]:
        """Return by queue the seconds for which its oldest task has been running."""
        now = time.monotonic()
        oldest: dict[str, float] = {}
        for queue, since in self._running.values():
            oldest[queue] = max(oldest.get(queue, 0.0), now - since)
        return oldest
