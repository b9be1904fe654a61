"""The messages that a channel holds: received and not yet settled."""

from __future__ import annotations

from typing import Any

from kombu.transport import SQS

from be_queue.transport.delays import seconds_left

__all__ = ['QoS']


class QoS(SQS.QoS):
    """kombu's, counted by the channel's `Capacity`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Messages that are received and not yet settled, by delivery tag.
        self.held: dict[str, Any] = {}

    def append(self, message: Any, delivery_tag: str) -> None:
        super().append(message, delivery_tag)
        self.held[delivery_tag] = message
        due_in = seconds_left({'headers': message.headers})
        queue = message.delivery_info.get('received_from', '')
        self.channel.capacity.received(delivery_tag, queue, due_in)

    def ack(self, delivery_tag: str) -> None:
        super().ack(delivery_tag)
        self.held.pop(delivery_tag, None)
        self.channel.capacity.settled(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        super().reject(delivery_tag, requeue=requeue)
        self.held.pop(delivery_tag, None)
        self.channel.capacity.settled(delivery_tag)

    def forget(self, delivery_tag: str) -> None:
        """Drop a message that was handed back."""
        super().ack(delivery_tag)
        self.held.pop(delivery_tag, None)
        self.channel.capacity.returned(delivery_tag)
