"""Event logs, by Fluentd's forward protocol, for Treasure Data: ``td.log('table', {...})``.

Off until FLUENT_HOST is set; then each process, the worker's or not, gets a sender with its first
event. Events that are in the connection when it breaks may be lost or arrive twice, since
fluent-logger does not ask for acknowledgements.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from be_queue.worker.fluent.fields import check
from be_queue.worker.role import Role
from be_queue.worker.settings import Settings, current

if TYPE_CHECKING:
    from be_queue.worker.fluent.sender import Sender

__all__ = ['EventLog', 'start', 'stop', 'td']


class EventLog:
    """Takes events from any thread; the first event of a process makes its sender."""

    def __init__(self) -> None:
        self._sender: Sender | None = None
        self._count: Callable[[str, int], None] = lambda outcome, events: None
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def log(self, table: str, fields: Mapping[str, Any]) -> bool:
        """Send an event with the tag ``td.{TD_DATABASE}.{table}`` and the time of this call.

        Returns at once: True when the event waits to be sent, False when event logs are off or
        the process ends.

        Arguments:
            table: 3 to 128 lower-case letters, digits and ``_``.
            fields: the columns. Names are texts, but not ``time`` or ``v``; values are text,
                bytes, numbers, True, False, None, and lists and dicts of those.

        Raises ValueError or TypeError for anything else, on or off.
        """
        check(table, fields)
        sender = None if self._ended else self._sender or self._make_sender()
        return sender is not None and bool(sender.emit(table, dict(fields)))

    def open(self, count: Callable[[str, int], None]) -> None:
        """Count events from now on.

        Arguments:
            count: called with ``sent`` or ``dropped`` and a number of events, from any thread.
        """
        self._count = count

    def close(self) -> int:
        """Send the events that wait, for two seconds at most; return how many were not sent."""
        self._ended = True
        return self._sender.close() if self._sender is not None else 0

    def _make_sender(self) -> Sender | None:
        config = current()
        if config.fluent_host is None:
            return None
        with self._lock:
            if self._sender is None and not self._ended:
                from be_queue.worker.fluent.sender import Sender

                self._sender = Sender(config, lambda *counted: self._count(*counted))
                # For programs that do not call `close`; a second call does nothing.
                atexit.register(self.close)
        return self._sender

    def _reset(self) -> None:
        """Begin without a sender: in a fork its thread is not there, its locks may be held."""
        before, self._sender = self._sender, None
        self._lock = threading.Lock()
        self._ended = False
        if before is not None and before.socket is not None:
            with contextlib.suppress(OSError):
                before.socket.close()


#: The event log of this process.
td = EventLog()


def start(config: Settings, role: Role) -> None:
    """Count the events of this process; the first event makes the sender."""
    if config.fluent_host is None:
        return
    # Before the pool is forked, so that its processes share what is loaded.
    from be_queue.worker.fluent import sender  # noqa: F401
    from be_queue.worker.metrics.metrics import EVENTS

    for outcome in ('sent', 'dropped'):
        EVENTS.labels(outcome)  # Prometheus sees no increase in a series that begins with 1
    td.open(lambda outcome, events: EVENTS.labels(outcome).inc(events))


def stop() -> None:
    """Send the events that wait, for two seconds at most."""
    td.close()
