"""A sender of event logs, with events to send."""

from __future__ import annotations

import threading
from collections import Counter

from app.config.configuration import Config
from app.utils.fluent.sender import Sender
from tests.support.fluent_server import FluentServer

__all__ = ['Events']


class Events:
    """A sender, what it counts, and a number for each event."""

    def __init__(self, server: FluentServer, buffer: int) -> None:
        config = Config(
            fluent_host='127.0.0.1',
            fluent_port=server.port,
            td_database='tests_db',
            fluent_buffer=buffer,
        )
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.logged = 0
        self.sender = Sender(config, self._count)

    def log(self, count: int, size: int = 0) -> None:
        """Log events of ``size`` bytes and a little more."""
        for _ in range(count):
            # Numbers of one length, so that all events are of one size.
            self.sender.emit('events', {'n': 1000 + self.logged, 'padding': 'x' * size})
            self.logged += 1

    def _count(self, outcome: str, events: int) -> None:
        with self._lock:
            self.counts[outcome] += events
