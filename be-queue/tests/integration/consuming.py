"""A consumer in kombu's event loop that leaves its messages to the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import kombu
from celery import Celery
from kombu.asynchronous import Hub

from be_queue import transport
from tests.support.loop import turn_until
from tests.support.noting import Noting

__all__ = ['Consumer', 'consuming']


class Channel(transport.Channel):
    """Notes what it does."""

    @cached_property
    def observer(self) -> Noting:
        return Noting()


class Transport(transport.Transport):
    Channel = Channel


class Consumer:
    """Holds what it receives.

    Arguments:
        children: messages that it may always hold.
    """

    def __init__(self, app: Celery, hub: Hub, queue: str, children: int) -> None:
        app.conf.broker_transport = f'{__name__}:Transport'
        self.held: list[kombu.Message] = []
        self._hub = hub
        self.connection = app.connection_for_read()
        self.channel: Any = self.connection.channel()
        self.channel.basic_qos(0, children, False)
        self.noted: Noting = self.channel.observer
        self.consumer = kombu.Consumer(
            self.channel, [app.amqp.queues[queue]], on_message=self.held.append
        )

    def wait_for(self, count: int) -> None:
        """Turn the loop until it holds so many messages."""
        turn_until(self._hub, lambda: len(self.held) == count, f'it holds {count} messages')

    def acknowledge(self) -> None:
        """Acknowledge all that it holds."""
        for message in self.held:
            message.ack()
        self.held.clear()


@contextmanager
def consuming(app: Celery, hub: Hub, queue: str, children: int = 20) -> Iterator[Consumer]:
    """Consume a queue in the event loop; with the block ends the loop, and then the connection."""
    consumer = Consumer(app, hub, queue, children)
    with consumer.connection as connection, consumer.consumer:
        connection.transport.register_with_event_loop(connection.connection, hub)
        yield consumer
