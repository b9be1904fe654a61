"""Where kombu receives, and hands messages to their consumers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any

from be_queue.transport.clients.requests import OnError, OnSuccess
from be_queue.transport.holding.channel import HoldingChannel
from be_queue.transport.holding.hops import Hops
from be_queue.transport.holding.release import release
from be_queue.transport.receiving.capacity import SECONDS, Capacity
from be_queue.transport.receiving.dispatching import Receiving
from be_queue.transport.receiving.gate import Gate
from be_queue.transport.receiving.qos import QoS
from be_queue.transport.sending.copies import with_what_a_copy_needs
from be_queue.transport.sending.delays import due_at

__all__ = ['ReceivingChannel']


class ReceivingChannel(HoldingChannel):
    """kombu's, with its receiving replaced where an event loop runs."""

    QoS = QoS
    #: The pollers, once the event loop consumes.
    receiving: Receiving | None = None

    @cached_property
    def capacity(self) -> Capacity:
        """How much is held, and may be."""
        return Capacity(float(self.transport_options.get('prefetch_seconds', SECONDS)))

    @cached_property
    def gate(self) -> Gate:
        """What may hold receives back."""
        return Gate()

    @cached_property
    def hops(self) -> Hops:
        """What sends messages for later again."""
        return Hops(self)

    def consumes(self, queue: str) -> bool:
        """Return whether there is a consumer of the queue."""
        return queue in self._active_queues

    def held(self) -> list[tuple[str, Any]]:
        """Return receipt handle and message of all that is received and not yet settled."""
        return super().held() + self.hops.held()

    def receive(
        self, queue: str, count: int, wait: bool, on_success: OnSuccess, on_error: OnError
    ) -> None:
        """Ask SQS for messages of the queue.

        Arguments:
            count: how many, 10 at most.
            wait: wait for the first if there is none.
        """
        takes = self.wait_time_seconds if wait else 0
        params = self._receive_params(queue, count, takes)
        self.async_sqs(queue).call('ReceiveMessage', params, on_success, on_error, takes=takes)

    def deliver(self, queue: str, messages: list[dict[str, Any]]) -> tuple[int, float | None]:
        """Hand messages to the queue's consumer; one that it cannot take stops no other.

        Returns how many that were, the others being for later, and when the oldest of them could
        have run, in seconds since 1970.
        """
        callback: Callable[[Any], object] | None = self.connection._callbacks.get(queue)
        url = self._new_queue(queue)
        if callback is None or (self.receiving is not None and self.receiving.stopped):
            release(self, [(queue, url, message['ReceiptHandle']) for message in messages])
            return 0, None
        received_at, for_later = time.monotonic(), 0
        oldest: float | None = None
        for message in messages:
            try:
                payload = self._message_to_python(message, queue, url)
                if self.hops.take(queue, url, message, payload):
                    for_later += 1
                    continue
                info = payload.get('properties', {}).get('delivery_info', {})
                info['received_at'] = received_at
                info['due_at'] = due = due_at(message, payload)
                oldest = due if oldest is None else min(due, oldest)
                callback(payload)
            except Exception as error:  # noqa: BLE001  (whatever a stranger's message provokes)
                self.dead_letters.not_delivered(queue, url, message, error)
        return len(messages) - for_later, oldest

    @property
    def get_message_attributes(self) -> dict[str, Any]:
        """What is received with each message."""
        attributes = with_what_a_copy_needs(super().get_message_attributes)
        system = attributes['MessageSystemAttributeNames']
        return attributes | {'MessageSystemAttributeNames': sorted({*system, 'SentTimestamp'})}

    def basic_consume(self, *args: Any, **kwargs: Any) -> None:
        if not self._loop_turns:
            self._thread, self._handed_over = threading.get_ident(), deque()
        super().basic_consume(*args, **kwargs)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        if not self._hand_over(self.basic_ack, delivery_tag, multiple):
            super().basic_ack(delivery_tag, multiple)
            self._wake()

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not self._hand_over(self.basic_reject, delivery_tag, requeue):
            super().basic_reject(delivery_tag, requeue=requeue)
            self._wake()

    def let_go(self, delivery_tag: str) -> None:
        super().let_go(delivery_tag)
        self._wake()

    def basic_qos(self, *args: Any, **kwargs: Any) -> None:
        super().basic_qos(*args, **kwargs)
        self._wake()

    def _wake(self) -> None:
        if self.receiving is not None:
            self.receiving.wake()

    def _schedule_queue(self, queue: str) -> None:
        # A thread beside the loop receives by itself, with a blocking client.
        if self._thread != threading.get_ident() or not self.consumes(queue):
            return
        if self.receiving is None:
            weights = self.transport_options.get('weights') or {}
            self.receiving = Receiving(self, self.capacity, weights)
        self.visibility.start()
        self._loop_turns = True
        self.receiving.start(queue)

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        """Receive without an event loop, as kombu does but for the visibility timeout."""
        wait = self.wait_time_seconds if wait_time_seconds is None else wait_time_seconds
        client = self.blocking_sqs(queue)
        # An answer that takes longer than the client waits for is lost, with its messages.
        wait = max(0, min(wait, int(client.meta.config.read_timeout) - 1))
        params = self._receive_params(queue, max_number_of_messages, wait)
        return client.receive_message(**params)

    def _receive_params(self, queue: str, count: int, wait: int) -> dict[str, Any]:
        attributes = self.get_message_attributes
        return {
            'QueueUrl': self._new_queue(queue),
            'MaxNumberOfMessages': count,
            'WaitTimeSeconds': wait,
            # Ours, whatever whoever made the queue gave it.
            'VisibilityTimeout': self.visibility_timeout,
            **{name: names for name, names in attributes.items() if names},
        }
