"""A broker in the worker's own memory: what is left is Celery and its pool, the floor.

Messages are lines of a file. Sending appends one. The worker's main process reads all of them when
its event loop starts, and hands them out as fast as the prefetch count allows: there are no
requests, acks only free a slot, and nothing is delivered again.
"""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from typing import Any

from kombu.transport import virtual

__all__ = ['Backlog', 'Transport']


class Backlog:
    """The file with the messages.

    Arguments:
        path: it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """Return the messages, each kombu's JSON."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def add(self, *messages: str) -> None:
        """Append messages."""
        with self.path.open('a') as file:
            file.writelines(f'{message}\n' for message in messages)

    def clear(self) -> None:
        """Remove all messages."""
        self.path.unlink(missing_ok=True)


class Channel(virtual.Channel):
    """Sends to the file."""

    do_restore = False

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        self.connection.backlog.add(json.dumps(message))

    def _purge(self, queue: str) -> int:
        return 0

    @property
    def is_ready(self) -> bool:
        """Whether it has a consumer that may be given a message."""
        return bool(self._consumers) and self.qos.can_consume()


class Transport(virtual.Transport):
    """Delivers in the event loop, as kombu's transports of Redis and SQS do.

    Its option ``backlog`` is the path of the file.
    """

    Channel = Channel
    driver_type = driver_name = 'backlog'
    implements = virtual.Transport.implements.extend(asynchronous=True)

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.backlog = Backlog(Path(client.transport_options['backlog']))

    def driver_version(self) -> str:
        return '1'

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Deliver while the prefetch count allows; the loop sleeps when it does not."""
        waiting = deque(self.backlog.read())
        # A broker's socket with something to read.
        readable, writable = os.pipe()
        os.write(writable, b'.')

        def ready() -> Any:
            return next((channel for channel in self.channels if channel.is_ready), None)

        def deliver() -> None:
            while waiting and ready():
                message = json.loads(waiting.popleft())
                self._deliver(message, message['properties']['delivery_info']['routing_key'])

        def on_tick() -> None:
            if waiting and ready():
                loop.add_reader(readable, deliver)
            else:
                loop.remove_reader(readable)

        loop.on_tick.add(on_tick)
