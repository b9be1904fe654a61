"""Tells the capacity of each message that comes and goes."""

from __future__ import annotations

from typing import Any

from kombu.transport import SQS

from be_queue.transport.sending.delays import seconds_left

__all__ = ['QoS']


class QoS(SQS.QoS):
    """kombu's, counted by the channel's `Capacity`."""

    def append(self, message: Any, delivery_tag: str) -> None:
        super().append(message, delivery_tag)
        queue = message.delivery_info.get('received_from', '')
        due_in = seconds_left({'headers': message.headers})
        self.channel.capacity.received(delivery_tag, queue, due_in)

    def ack(self, delivery_tag: str) -> None:
        super().ack(delivery_tag)
        self.channel.capacity.settled(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        super().reject(delivery_tag, requeue=requeue)
        self.channel.capacity.settled(delivery_tag)

    def forget(self, delivery_tag: str) -> None:
        """Drop a message that was handed back."""
        self._delivered.pop(delivery_tag, None)
        self.channel.capacity.returned(delivery_tag)
