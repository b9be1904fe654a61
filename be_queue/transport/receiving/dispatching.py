"""Which queue is asked for messages next, and for how many.

Each queue has a receive waiting on SQS. Those that bring messages are asked again as far as the
worker's `capacity` goes, the queue first that has had the least of the worker's time: by its
weight, queues with a backlog share that equally. One that the channel's gate holds back is left out
and keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from be_queue.transport.clients.soon import Soon
from be_queue.transport.receiving.capacity import SHORTEST, Capacity
from be_queue.transport.receiving.polling import BATCH, Poller, State

__all__ = ['Receiving']

#: Seconds between two looks at receives that wait.
LOOK_INTERVAL = 0.25


class Receiving:
    """The pollers of a channel, and the room that they share.

    Arguments:
        channel: the `Channel` that takes the messages.
        capacity: what it holds.
        weights: share of the worker's time by queue, where it is not 1.
    """

    def __init__(self, channel: Any, capacity: Capacity, weights: Mapping[str, float]) -> None:
        self.channel = channel
        self.hub = channel.hub
        self.capacity = capacity
        self.pollers: dict[str, Poller] = {}
        self._weights = weights
        self._soon = Soon(self.hub, self._dispatch)
        self.stopped = False
        self._level = 0.0
        self._timer = self.hub.call_repeatedly(LOOK_INTERVAL, self._look_again)

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
        """Start no more receives; what those in flight bring is handed back."""
        self.stopped = True
        self._timer.cancel()
        self.channel.gate.close()

    def wake(self) -> None:
        """Receive soon: there is room, or a receive has ended."""
        if not self.stopped:
            self._soon()

    def is_back(self) -> None:
        """SQS answers again: have no queue wait for its next try."""
        for poller in self.pollers.values():
            poller.retry()

    def price(self, queue: str) -> float:
        """Return the seconds of work that a message of the queue is taken for."""
        # Nothing known costs little: it is a message for each child at most.
        return max(self.capacity.run_time(queue), SHORTEST)

    def advance_level(self) -> float:
        """Return the least time that a queue with a backlog has had, of those not held back.

        It never falls, and stays as it is while there is no such queue.
        """
        busy = (p for p in self.pollers.values() if p.backlog and p.state is not State.THROTTLED)
        self._level = max(self._level, min((poller.used for poller in busy), default=0.0))
        return self._level

    def _dispatch(self) -> None:
        if self.stopped:
            return
        self.capacity.children = self.channel.qos.prefetch_count
        gate = self.channel.gate
        for poller in sorted(self.pollers.values(), key=lambda poller: poller.used):
            if not self.channel.consumes(poller.queue):
                continue
            while poller.wants():
                if not gate.is_open(poller.queue):
                    poller.throttled()
                    break
                room = self.capacity.room(poller.queue)
                count = self._may_ask(poller, room)
                if count:
                    admitted = gate.admit(poller.queue, count, room)
                    if not admitted:
                        poller.throttled()
                        break
                    poller.receive(admitted)
                    continue
                poller.full()
                if poller.backlog:
                    # It is its turn: the others would take the room that it waits for.
                    return
                break

    def _may_ask(self, poller: Poller, room: int) -> int:
        if not poller.backlog:
            # It will most likely bring nothing, or the first of many.
            idle = sum(not p.backlog and not p.in_flight for p in self.pollers.values())
            return min(BATCH, max(room // max(idle, 1), int(room > 0)))
        if self.capacity.held < self.capacity.children:
            return min(BATCH, room)
        enough = min(BATCH, self.capacity.worth_asking(poller.queue))
        return min(BATCH, room) if room >= enough else 0

    def _look_again(self) -> None:
        waiting = [poller for poller in self.pollers.values() if poller.look_again()]
        if waiting:
            self.wake()
