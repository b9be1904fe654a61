"""Which queue is asked for messages next, and for how many.

Each queue has a receive waiting on SQS. Queues that return messages are asked again as far as the
worker's `capacity` goes, the queue first that has had the least of the worker's time by its weight:
queues with a backlog share the time equally. A queue that the channel's gate holds back is left out
and keeps no other waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from be_queue.transport.capacity import MIN_RUN_TIME, Capacity
from be_queue.transport.poller import Poller, State
from be_queue.transport.requests import BATCH_SIZE

__all__ = ['Gate', 'Receiving']

#: Seconds between two checks for receives that wait.
CHECK_INTERVAL = 0.25


class Gate:
    """Lets every receive through: the base class for a channel's ``gate``, such as a rate limit.

    A subclass holds some back, and calls `Receiving.wake` when it would admit more than before. Its
    methods are called in the event loop, and must not block.
    """

    def is_open(self, queue: str) -> bool:
        """Return False while not one message of the queue may be asked for."""
        return True

    def admit(self, queue: str, count: int, room: int) -> int:
        """Return how many of ``count`` messages may be asked for now, 0 at least.

        ``room`` is how many the worker could take in all, with receives that follow.
        """
        return count

    def settle(self, queue: str, admitted: int, taken: int, asked_at: float) -> None:
        """A receive that was admitted has ended.

        Arguments:
            admitted: messages that it asked for.
            taken: messages that it returned whose time to run has come.
            asked_at: when it began, by the monotonic clock.
        """

    def close(self) -> None:
        """Nothing more is received: release what needs the event loop."""


class Receiving:
    """The pollers of a channel, and the room that they share.

    The channel calls `dispatch` before its event loop sleeps. ``weights`` are shares of the
    worker's time by queue, where they are not 1.
    """

    def __init__(self, channel: Any, capacity: Capacity, weights: Mapping[str, float]) -> None:
        self.channel = channel
        self.hub = channel.hub
        self.capacity = capacity
        self.pollers: dict[str, Poller] = {}
        self.stopped = False
        self._weights = weights
        self._is_due = False
        #: Messages to be settled before another receive is worth it.
        self._missing = 0
        self._level = 0.0
        self._timer = self.hub.call_repeatedly(CHECK_INTERVAL, self._check)

    @property
    def in_flight(self) -> int:
        """Receives without an answer yet."""
        return sum(poller.in_flight for poller in self.pollers.values())

    def start(self, queue: str) -> None:
        """Receive from a queue."""
        if queue not in self.pollers:
            self.pollers[queue] = Poller(self, queue, self._weights.get(queue, 1.0))
        self.wake()

    def stop(self) -> None:
        """Start no more receives; messages of those in flight are handed back."""
        self.stopped = True
        self._timer.cancel()
        self.channel.gate.close()

    def wake(self) -> None:
        """Receive soon: there is room, or a receive has ended."""
        self._is_due = True

    def settled(self) -> None:
        """A message was settled: receive soon, if that makes enough room."""
        self._missing -= 1
        if self._missing <= 0 or self.capacity.has_idle_children:
            self._is_due = True

    def cost(self, queue: str) -> float:
        """Return the seconds of work that a message of the queue is assumed to be."""
        # Unknown ones cost little: there is a message for each child of them at most.
        return max(self.capacity.run_time(queue), MIN_RUN_TIME)

    def advance_level(self) -> float:
        """Return the least time that a queue with a backlog has had, of those not held back.

        It never falls, and stays as it is while there is no such queue.
        """
        busy = (p for p in self.pollers.values() if p.backlog and p.state is not State.THROTTLED)
        self._level = max(self._level, min((poller.used for poller in busy), default=0.0))
        return self._level

    def dispatch(self) -> None:
        """Start the receives that there is room for, if anything has changed."""
        if self.stopped or not self._is_due:
            return
        self._is_due = False
        self._missing = BATCH_SIZE
        self.capacity.children = self.channel.qos.prefetch_count
        for poller in sorted(self.pollers.values(), key=lambda poller: poller.used):
            if self.channel.consumes(poller.queue) and not self._served(poller):
                return

    def _served(self, poller: Poller) -> bool:
        """Start the receives of a queue; return False to leave the room that is left to it."""
        gate = self.channel.gate
        while poller.wants():
            admitted = 0
            if gate.is_open(poller.queue):
                room = self.capacity.room(poller.queue)
                count = self._count(poller, room)
                if not count:
                    poller.full()
                    # It is its turn: the others would take the room that it waits for.
                    return not poller.backlog
                admitted = gate.admit(poller.queue, count, room)
            if not admitted:
                poller.throttled()
                break
            poller.receive(admitted)
        return True

    def _count(self, poller: Poller, room: int) -> int:
        """Return how many messages to ask for."""
        if not poller.backlog:
            # It will most likely return nothing, or the first of many.
            idle = sum(not p.backlog and not p.in_flight for p in self.pollers.values())
            return min(BATCH_SIZE, max(room // max(idle, 1), int(room > 0)))
        missing = min(BATCH_SIZE, self.capacity.worth_asking(poller.queue)) - room
        if missing <= 0 or self.capacity.has_idle_children:
            return min(BATCH_SIZE, room)
        self._missing = min(missing, self._missing)
        return 0

    def _check(self) -> None:
        for poller in self.pollers.values():
            poller.check()
        self.wake()
