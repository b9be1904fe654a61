"""When to receive from a queue.

    IDLE -> RECEIVING -> IDLE            messages, or none: the next receive follows
              |    ^
              v    |  after a wait that grows up to 20 s, drawn by lot
          BACKING_OFF                    the receive failed

    IDLE -> FULL -> IDLE                 no room for a message; the ack that makes room wakes it

Whatever the outcome of a receive, another follows.
"""

from __future__ import annotations

import logging
import time
from enum import Enum
from typing import Any

from be_queue.outage import Outage

__all__ = ['MAX_WAIT', 'Poller', 'State']

logger = logging.getLogger(__name__)

#: Seconds of the longest wait after a failed receive.
MAX_WAIT = 20.0


class State(Enum):
    """What a poller does."""

    IDLE = 'idle'
    RECEIVING = 'receiving'
    FULL = 'full'
    BACKING_OFF = 'backing off'


class Poller:
    """Receives from one queue for as long as the channel consumes from it.

    Arguments:
        channel: the `Channel` that takes the messages.
        queue: the queue's name in kombu.
    """

    def __init__(self, channel: Any, queue: str) -> None:
        self.state = State.IDLE
        #: When the last receive ended, well or badly, by the monotonic clock.
        self.last_receive = time.monotonic()
        self._channel = channel
        self._queue = queue
        self._outage = Outage(f'SQS queue {queue}', max_wait=MAX_WAIT)

    def poll(self) -> None:
        """Receive, unless that is being done or has to wait."""
        if self.state in (State.RECEIVING, State.BACKING_OFF):
            return
        self.state = State.IDLE
        if not self._channel.consumes(self._queue):
            return
        if not self._channel.qos.can_consume():
            self.state = State.FULL
            return
        self.state = State.RECEIVING
        self._channel.receive(self._queue, self._received, self._failed)

    def wake(self) -> None:
        """Receive soon: there is room for a message again."""
        if self.state is State.FULL:
            self.state = State.IDLE
            self._channel.hub.call_soon(self.poll)

    def _received(self, answer: dict[str, Any]) -> None:
        self._ended()
        self._outage.ended()
        messages = answer.get('Messages') or []
        try:
            self._channel.deliver(self._queue, messages)
        finally:
            pause = 0.0 if messages else self._channel.connection.polling_interval or 0.0
            self._channel.hub.call_later(pause, self.poll)

    def _failed(self, error: Exception) -> None:
        self._ended()
        self.state = State.BACKING_OFF
        self._channel.hub.call_later(self._outage.failed(error), self._try_again)

    def _try_again(self) -> None:
        self.state = State.IDLE
        self.poll()

    def _ended(self) -> None:
        self.state = State.IDLE
        self.last_receive = time.monotonic()
