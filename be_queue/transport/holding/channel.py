"""Where kombu acknowledges messages and hands them back."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from kombu.transport import virtual

from be_queue.transport.dead_letters.channel import GuardedChannel
from be_queue.transport.holding.acks import Acks
from be_queue.transport.holding.hand_back import HandBack, receives_of
from be_queue.transport.holding.visibility import Visibility

__all__ = ['HoldingChannel']

logger = logging.getLogger(__name__)


class HoldingChannel(GuardedChannel):
    """kombu's, but what it holds stays hidden, and is deleted in batches."""

    #: The event loop calls us back.
    _loop_turns = False
    #: The thread that consumes, which is that of the event loop if there is one.
    _thread = 0
    #: Calls that other threads have handed over to the loop.
    _handed_over: deque[Callable[[], object]]
    _closing = False

    @cached_property
    def visibility(self) -> Visibility:
        """What keeps held messages hidden."""
        return Visibility(self)

    @cached_property
    def hand_back(self) -> HandBack:
        """Returns messages that wait too long for a child."""
        return HandBack(self)

    @cached_property
    def _acks(self) -> dict[str, Acks]:
        return {}

    def held(self) -> list[tuple[str, Any]]:
        """Return receipt handle and message of all that is received and not yet settled."""
        settled = self.qos._dirty
        return [item for item in self.qos._delivered.copy().items() if item[0] not in settled]

    def acks(self, queue: str, url: str) -> Acks:
        """Return what deletes messages of the queue."""
        if url not in self._acks:
            self._acks[url] = Acks(self, queue, url)
        return self._acks[url]

    def pending_acks(self) -> list[tuple[str, str, list[str]]]:
        """Return queue, URL and receipt handles of what is to be deleted."""
        # A copy: a thread asks, while the first ack of a queue may add to it.
        return [acks.pending for acks in self._acks.copy().values()]

    @property
    def keeps_hidden(self) -> bool:
        """Whether a delete can be tried again: what is to be deleted stays hidden meanwhile."""
        return self._loop_turns or self.visibility.outlives_loop

    def flush_acks(self) -> None:
        """Delete what is to be deleted, and wait for it."""
        for acks in self._acks.copy().values():
            acks.flush()
            if self._closing:
                acks.give_up()

    def _hand_over(self, function: Callable[..., object], *args: Any) -> bool:
        """Have the event loop's thread call a function if this is another; return whether it is.

        Neither the loop nor its HTTP client may be used by two threads.
        """
        if not self._loop_turns or threading.get_ident() == self._thread:
            return False
        self._handed_over.append(partial(function, *args))
        if self._loop_turns:
            self.hub.call_soon(self._take_over)
        else:  # it has ended in between, and may have looked for the last time
            self._take_over()
        return True

    def _take_over(self) -> None:
        """Call what other threads have handed over."""
        while True:
            try:
                call = self._handed_over.popleft()
            except IndexError:
                return
            call()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        acks = self._acks_of(delivery_tag)
        if acks is None:
            self._ack_now(delivery_tag, multiple)
        else:
            # Past kombu's SQS channel, which would delete the message as well.
            virtual.Channel.basic_ack(self, delivery_tag, multiple)
            acks.add(delivery_tag)

    def _ack_now(self, delivery_tag: str, multiple: bool) -> None:
        message = self.qos._delivered.get(delivery_tag)
        info = message.delivery_info if message is not None else {}
        if 'received_from' not in info:
            super().basic_ack(delivery_tag, multiple)
            return
        # kombu takes the routing key, the sender's, for the name of the queue.
        key = info['routing_key']
        info['routing_key'] = info['received_from']
        try:
            super().basic_ack(delivery_tag, multiple)
        finally:
            info['routing_key'] = key

    def _acks_of(self, delivery_tag: str) -> Acks | None:
        """Return where to leave a message to be deleted; None without an event loop."""
        if not self.keeps_hidden:
            return None
        try:
            info = self.qos.get(delivery_tag).delivery_info
            queue, url = info['received_from'], info['sqs_queue']
        except KeyError:
            return None
        return self.acks(queue, url)

    def _restore(self, message: Any, *args: Any) -> None:
        """Hand a message back to the queue that it came from.

        kombu routes it anew, and by the exchange it belongs to the platform queue as well. There
        SQS refuses its receipt handle, and the refusal would end the worker.
        """
        info = message.delivery_info
        try:
            self.blocking_sqs(info['received_from']).change_message_visibility(
                QueueUrl=info['sqs_queue'],
                ReceiptHandle=info['sqs_message']['ReceiptHandle'],
                VisibilityTimeout=self._pause_before_retry(info),
            )
        except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
            logger.warning(
                'a message was not handed back and comes back after its visibility timeout: '
                'queue=%s error=%s',
                info['sqs_queue'],
                error,
            )

    def _pause_before_retry(self, info: dict[str, Any]) -> int:
        """Return for how many seconds a message that was handed back stays hidden.

        A worker does not try one that kills its process again in a tight loop. Whoever receives
        without an event loop says itself when.
        """
        if self._closing or not self.keeps_hidden:
            return 0
        pause = max(self.wait_time_seconds, 1) * 2 ** min(receives_of(info) - 1, 10)
        return int(min(pause, self.visibility_timeout))
