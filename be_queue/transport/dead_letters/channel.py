"""Keeps what cannot be run from Celery, and what Celery cannot run from the bin."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kombu.transport import virtual

from be_queue.transport.dead_letters import poison
from be_queue.transport.dead_letters.moving import DeadLetters
from be_queue.transport.sending.channel import SendingChannel

__all__ = ['GuardedChannel']


class GuardedChannel(SendingChannel):
    """kombu's, with dead-letter queues."""

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """What moves messages to their dead-letter queue."""
        return DeadLetters(self)

    @cached_property
    def _gates(self) -> dict[str, poison.Gate]:
        return {}

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, *args: Any, **kwargs: Any
    ) -> None:
        consumer = poison.task_consumer(callback)
        if consumer is not None:
            self.prepare_to_consume(queue)
            callback = self._gates[queue] = poison.Gate(consumer, callback, self.dead_letters.move)
        super().basic_consume(queue, no_ack, callback, consumer_tag, *args, **kwargs)

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Any:
        payload = super()._message_to_python(message, queue_name, q_url)
        info = payload.get('properties', {}).get('delivery_info', {})
        if not isinstance(info.get('routing_key'), str):
            info['routing_key'] = queue_name  # a stranger's
        # The routing key is what the sender likes, and a copy's is that of another queue.
        info['received_from'] = queue_name
        return payload

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        passing = any(gate.passing == delivery_tag for gate in self._gates.values())
        if requeue or not self.dead_letters.reject(delivery_tag, passing):
            super().basic_reject(delivery_tag, requeue=requeue)

    def let_go(self, delivery_tag: str) -> None:
        """Hold a message no longer: unless it is deleted, it comes back when it is visible."""
        virtual.Channel.basic_ack(self, delivery_tag)
