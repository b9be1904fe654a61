"""Where kombu sends."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kombu.utils.functional import maybe_list

from be_queue.transport.queues.channel import DeclaringChannel
from be_queue.transport.sending import publishing

__all__ = ['SendingChannel']


class SendingChannel(DeclaringChannel):
    """kombu's, but each message goes to all its queues at once, as text."""

    #: Text goes as it is, unless the option of this name says otherwise.
    body_encoding = None

    @cached_property
    def copies_to(self) -> frozenset[str]:
        """Queues that get copies only: nobody runs a task that is sent to no other."""
        return frozenset(maybe_list(self.transport_options.get('copies_to')) or ())

    def encode_body(self, body: Any, encoding: str | None = None) -> Any:
        # Bytes, pickled or compressed, have no place in JSON.
        return super().encode_body(body, 'base64' if isinstance(body, bytes) else encoding)

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **kwargs: Any) -> None:
        if exchange and self.typeof(exchange).type == 'fanout':  # goes to SNS, if anywhere
            super().basic_publish(message, exchange, routing_key, **kwargs)
            return
        self._inplace_augment_message(message, exchange, routing_key)
        publishing.publish(self, message, exchange, routing_key)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        publishing.publish(self, message, '', queue)
