"""A broker in memory, to see where tasks go without a server."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from typing import Any

import kombu
from celery import Celery
from kombu.transport import memory, virtual

__all__ = ['MemoryBroker', 'MemoryTransport']


class MemoryTransport(memory.Transport):
    """kombu's in-memory transport, without the state that it shares between connections."""

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.state = virtual.BrokerState()
        self.queues: dict[str, queue.Queue[Any]] = {}

    class Channel(memory.Channel):
        def __init__(self, connection: Any, **options: Any) -> None:
            super().__init__(connection, **options)
            self.queues = connection.queues


class MemoryBroker:
    """A broker of its own: unlike that of ``memory://``, no other connection sees its queues."""

    def __init__(self) -> None:
        self._connection = kombu.Connection(transport=MemoryTransport)

    def __enter__(self) -> MemoryBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.release()

    def declare(self, queues: Iterable[kombu.Queue]) -> None:
        """Declare queues with their exchanges and bindings, as a process does that uses them."""
        for declared in queues:
            declared.bind(self._connection.default_channel).declare()

    def send(self, app: Celery, task: str, **options: Any) -> list[str]:
        """Send a task by the app's routes; return the names of the queues that got a copy.

        Arguments:
            options: further arguments of ``app.send_task``, for example ``queue``.
        """
        app.send_task(
            task,
            connection=self._connection,
            retry=False,
            # The backend may be a database that cannot be reached from here.
            ignore_result=True,
            result_cls=_NoResult,
            add_to_parent=False,
            **options,
        )
        return sorted(self._take())

    def _take(self) -> Iterator[str]:
        for name, messages in self._connection.transport.queues.items():
            while not messages.empty():
                messages.get_nowait()
                yield name


class _NoResult:
    """An AsyncResult that does not connect to the result backend."""

    ignored = True

    def __init__(self, task_id: str) -> None:
        self.id = task_id
