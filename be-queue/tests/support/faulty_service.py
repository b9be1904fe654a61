"""A server over HTTP whose answers tests replace by faults, until they repair it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ['Fault', 'FaultyService', 'says']

#: Answers a request in its own way. Those of `tests.support.faulty` will do.
Fault = Callable[[Any], None]


def says(status: int, body: bytes) -> Fault:
    """Answer every request the same."""

    def answer(handler: Any) -> None:
        handler.answer(status, body)

    return answer


class FaultyService(ThreadingHTTPServer):
    """Listens on loopback, by default on any free port; its handler looks at ``fault`` first."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(('127.0.0.1', port), handler)
        self.fault: Fault | None = None
        self.fixed = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        port: int = self.server_address[1]
        return port

    def fail(self, fault: Fault) -> None:
        """Answer every request so from now on."""
        self.fixed.clear()
        self.fault = fault

    def repair(self) -> None:
        """Answer as it should again."""
        self.fault = None
        self.fixed.set()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that hang up: some are made to."""
