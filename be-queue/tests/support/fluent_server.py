"""A receiver of Fluentd's forward protocol, over real sockets, that can also misbehave."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgpack

from be_queue.testing.ports import close_listener
from be_queue.testing.waiting import wait_until

__all__ = ['FluentServer', 'receives', 'rubbish', 'running_fluent']

#: The protocol's extension type for a time: seconds and nanoseconds, 32 bits each.
EVENT_TIME = 0


@dataclass(frozen=True)
class Event:
    """One event as it came in; ``time`` is nanoseconds since the epoch."""

    tag: str
    time: int
    record: dict[str, Any]


def receives(server: FluentServer, connection: socket.socket) -> None:
    """Take events until the client hangs up."""
    unpacker = msgpack.Unpacker(ext_hook=_time)
    while data := connection.recv(65536):
        unpacker.feed(data)
        # In the protocol's Message mode, the one that fluent-logger uses.
        server.events += [Event(*event) for event in unpacker]


def rubbish(server: FluentServer, connection: socket.socket) -> None:
    """Talk where the protocol has nothing to say, and take events all the same."""
    connection.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n' * 1000)
    receives(server, connection)


class FluentServer:
    """Listens on 127.0.0.1; `stop` and `start` keep the port."""

    def __init__(self) -> None:
        #: Handles each connection.
        self.behaviour: Callable[[FluentServer, socket.socket], None] = receives
        self.port = 0
        self.events: list[Event] = []
        #: Connections that were ever made.
        self.connections = 0
        self._is_stopped = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which a worker finds it."""
        return {
            'FLUENT_HOST': '127.0.0.1',
            'FLUENT_PORT': str(self.port),
            'TD_DATABASE': 'tests_db',
        }

    def start(self) -> None:
        self._is_stopped = False
        self._listener = socket.create_server(('127.0.0.1', self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and reset the open ones, as a server that is killed."""
        if not self._is_stopped:
            close_listener(self._listener)
        self._is_stopped = True
        self.hang_up(resets=True)

    def hang_up(self, resets: bool = False) -> None:
        """End the connections that are open, as a server or a proxy that finds them idle."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    linger = struct.pack('ii', resets, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    # Wakes the recv() that would keep the connection open.
                    connection.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not self._open, 'every connection has ended')

    def records(self, table: str = 'events') -> list[dict[str, Any]]:
        """Return what has come in for a table of ``tests_db``."""
        return [event.record for event in self.events if event.tag == f'td.tests_db.{table}']

    def wait_received(self, count: int) -> None:
        wait_until(lambda: len(self.events) >= count, f'{count} events are in', 30)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                connection, _ = listener.accept()
                with self._lock:
                    self.connections += 1
                    self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.behaviour(self, connection)
        with self._lock:
            connection.close()
            self._open.discard(connection)


@contextmanager
def running_fluent() -> Iterator[FluentServer]:
    """Run a receiver until the end of the block."""
    server = FluentServer()
    try:
        yield server
    finally:
        server.stop()


def _time(code: int, data: bytes) -> int:
    assert code == EVENT_TIME, code
    seconds, nanoseconds = struct.unpack('>II', data)
    return seconds * 10**9 + nanoseconds
