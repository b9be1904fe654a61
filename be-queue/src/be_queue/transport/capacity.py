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
        #: Queue of each message that waits for a child, the oldest first.
        self._waiting: dict[str, str] = {}
        #: Messages by queue: held, or expected from receives in flight.
        self._counts: Counter[str] = Counter()
        self._run_times: dict[str, float] = {}
        #: A message had to be handed back, and no child has become free since.
        self._is_stalled = False

    @property
    def held(self) -> int:
        """Messages held or expected."""
        return self._counts.total()

    @property
    def has_idle_children(self) -> bool:
        """Whether there is a child without a message."""
        return self.held < self.children

    def run_time(self, queue: str) -> float:
        """Return the run time of the queue's tasks in seconds, 0 while it is unknown."""
        return max(self._run_times.get(queue, 0.0), self._longest_so_far(queue))

    def received(self, tag: str, queue: str, due_in: float = 0.0) -> None:
        """Count a message that is held from now on; its task starts in ``due_in`` seconds."""
        self._counts[queue] += 1
        if len(self._running) < self.children:
            self._running[tag] = queue, time.monotonic() + due_in
        else:
            self._waiting[tag] = queue

    def settled(self, tag: str) -> None:
        """Drop a message that was acknowledged or rejected."""
        self._is_stalled = False
        started = self._running.get(tag)
        self._drop(tag)
        if started is None:
            return
        queue, since = started
        now = time.monotonic()
        took = max(0.0, now - since)
        mean = self._run_times.setdefault(queue, took)
        self._run_times[queue] = mean + NEW_WEIGHT * (took - mean)
        if self._waiting:
            tag = next(iter(self._waiting))
            self._running[tag] = self._waiting.pop(tag), now

    def returned(self, tag: str) -> None:
        """Drop a message that no child could take; there is no room until one is free."""
        self._drop(tag)
        # When nothing runs there is nothing whose end would make room again.
        self._is_stalled = bool(self._running)

    def expect(self, queue: str, count: int) -> None:
        """Count messages that were asked for; a negative number takes that back."""
        self._counts[queue] += count

    def room(self, queue: str) -> int:
        """Return how many more messages of the queue may be asked for."""
        if self._is_stalled:
            return 0
        if not self.children:
            return MAX_PER_CHILD
        held = self.held
        work = sum(count * self._cost(other) for other, count in self._counts.items() if count)
        work_left = self.children * self.seconds - work
        # The rest of the second takes one message more, however long its task.
        by_work = max(int(work_left / self._cost(queue)), 1) if work_left > 0 else 0
        wanted = max(self.children - held, by_work)
        return max(0, min(wanted, self.children * MAX_PER_CHILD - held))

    def worth_asking(self, queue: str) -> int:
        """Return the room from which on a receive comes back well filled."""
        return max(1, int(self.children * self.seconds / self._cost(queue) / 2))

    def _drop(self, tag: str) -> None:
        queue, _ = self._running.pop(tag, ('', 0.0))
        queue = queue or self._waiting.pop(tag, '')
        if queue:
            self._counts[queue] -= 1

    def _cost(self, queue: str) -> float:
        """Return the seconds of work that a message of the queue is.

        However long it runs, it occupies one child and leaves the others. One of which nothing is
        known may be long.
        """
        mean = self._run_times.get(queue, self.seconds)
        return max(min(max(mean, self._longest_so_far(queue)), self.seconds), MIN_RUN_TIME)

    def _longest_so_far(self, queue: str) -> float:
        """Return the seconds for which the queue's oldest task runs: the others may be as long."""
        starts = [since for other, since in self._running.values() if other == queue]
        return time.monotonic() - min(starts) if starts else 0.0
