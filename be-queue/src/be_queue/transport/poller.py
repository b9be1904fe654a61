"""Receives from one queue, again and again.

    IDLE -> RECEIVING -> IDLE            messages, or none: the next receive follows
              |    ^
              v    |  after a random wait that grows up to 8 s
          BACKING_OFF                    the receive failed

    IDLE -> FULL -> IDLE                 no room for a message; the ack that makes room wakes it
    IDLE -> THROTTLED -> IDLE            the channel's gate holds the queue back, and wakes it

Another receive follows each, however it ended. `receiving` says when.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

from be_queue.outage import CHECK_SQS, Outage

__all__ = ['MAX_WAIT_SECONDS', 'Poller', 'State']

logger = logging.getLogger(__name__)

#: The longest wait after a failed receive: the worker is back ten seconds after SQS is.
MAX_WAIT_SECONDS = 8.0
#: Receives in flight for one queue, while they come back filled.
MAX_RECEIVES = 4
#: Seconds after which a receive has found the queue empty, and waits.
QUICK_SECONDS = 0.5


class State(Enum):
    """States of a poller."""

    IDLE = 'idle'
    RECEIVING = 'receiving'
    FULL = 'full'
    THROTTLED = 'throttled'
    BACKING_OFF = 'backing off'


@dataclass(eq=False)
class Receive:
    """A receive in flight: when it began, and how many messages it is expected to return."""

    asked_at: float
    expected: int


class Poller:
    """Receives from one queue when `Receiving` says so.

    ``weight`` is the queue's share of the worker's time beside other queues with a backlog.
    """

    def __init__(self, receiving: Any, queue: str, weight: float = 1.0) -> None:
        self.queue = queue
        self.state = State.IDLE
        #: When the last receive ended, successful or not, by the monotonic clock.
        self.last_receive = time.monotonic()
        #: The last receive returned messages: there are probably more.
        self.backlog = False
        #: When the oldest message of the last receive could have run, in seconds since 1970; None
        #: when that returned none.
        self.oldest_due: float | None = None
        #: Seconds of work received, divided by the weight. The poller with the least comes first.
        self.used = 0.0
        self._weight = weight
        self._receiving = receiving
        self._in_flight: list[Receive] = []
        #: Receives that may be in flight at a time.
        self._at_once = 1
        self._outage = Outage(f'SQS queue {queue}', max_wait=MAX_WAIT_SECONDS, hint=CHECK_SQS)

    @property
    def in_flight(self) -> int:
        """Receives without an answer yet."""
        return len(self._in_flight)

    def wants(self) -> bool:
        """Return whether another receive makes sense, if there is room for its messages."""
        return self.state is not State.BACKING_OFF and self.in_flight < (
            self._at_once if self.backlog else 1
        )

    def receive(self, count: int) -> None:
        """Ask for messages."""
        if self.state is State.THROTTLED:
            self._catch_up()
        self.state = State.RECEIVING
        asked_at = time.monotonic()
        receive = Receive(asked_at, count if self.backlog else 0)
        # Beside another receive it only fetches what is there, and does not wait.
        waits = not self._in_flight
        self._in_flight.append(receive)
        self._receiving.capacity.expect(self.queue, receive.expected)

        def received(answer: dict[str, Any]) -> None:
            self._ended(receive)
            messages = answer.get('Messages') or []
            self._receiving.channel.observer.received(self.queue, len(messages))
            self._outage.ended()
            self._deliver(messages, count, asked_at)

        def failed(error: Exception) -> None:
            self._ended(receive)
            self._receiving.channel.observer.receive_failed(self.queue)
            self._receiving.channel.gate.settle(self.queue, count, 0, asked_at)
            if self.state is not State.BACKING_OFF:
                self.state = State.BACKING_OFF
                self._at_once = 1
                self._set_backlog(False)  # it gets nothing for now, as if it were empty
                wait = self._outage.failed(error, asked_at)
                self._receiving.hub.call_later(wait, self._try_again)

        self._receiving.channel.receive(self.queue, count, waits, received, failed)

    def full(self) -> None:
        """There is no room for the messages of another receive."""
        if self.state is State.THROTTLED:
            self._catch_up()
        if self.state in (State.IDLE, State.THROTTLED):
            self.state = State.FULL

    def throttled(self) -> None:
        """The channel's gate holds it back."""
        if self.state in (State.IDLE, State.FULL):
            self._receiving.advance_level()
            self.state = State.THROTTLED

    def check(self) -> None:
        """Notice when a receive turns out to wait: the queue is empty, its room is free."""
        now = time.monotonic()
        for receive in self._in_flight:
            if receive.expected and now - receive.asked_at > QUICK_SECONDS:
                self._receiving.capacity.expect(self.queue, -receive.expected)
                receive.expected = 0
                self._set_backlog(False)

    def _deliver(self, messages: list[dict[str, Any]], asked: int, asked_at: float) -> None:
        took = time.monotonic() - asked_at
        self._set_backlog(bool(messages))
        if 2 * len(messages) >= asked:
            self._at_once = min(self._at_once + 1, MAX_RECEIVES)
        else:
            self._at_once = max(self._at_once - 1, 1)
        channel, taken = self._receiving.channel, 0
        self.oldest_due = None
        try:
            if messages:
                taken, self.oldest_due = channel.deliver(self.queue, messages)
        finally:
            self.used += taken * self._receiving.cost(self.queue) / self._weight
            channel.gate.settle(self.queue, asked, taken, asked_at)
            pause = channel.connection.polling_interval or 0.0
            if messages or took > pause:
                self._receiving.wake()
            else:  # a server without long polls is not asked in a tight loop
                self._receiving.hub.call_later(pause, self._receiving.wake)

    def _set_backlog(self, backlog: bool) -> None:
        if backlog and not self.backlog:
            self._catch_up()
        elif self.backlog and not backlog:
            self._receiving.advance_level()
        self.backlog = backlog

    def _catch_up(self) -> None:
        # A queue that was idle, or held back, has saved up no time.
        self.used = max(self.used, self._receiving.advance_level())

    def _try_again(self) -> None:
        self.state = State.IDLE if not self._in_flight else State.RECEIVING
        self._receiving.wake()

    def _ended(self, receive: Receive) -> None:
        self._in_flight.remove(receive)
        self._receiving.capacity.expect(self.queue, -receive.expected)
        self.last_receive = time.monotonic()
        if self.state is State.RECEIVING and not self._in_flight:
            self.state = State.IDLE
