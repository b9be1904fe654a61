"""Event logs, by Fluentd's forward protocol, for Treasure Data: ``td.log('table', {...})``.

Off until FLUENT_HOST is set; then each process, the worker's or not, gets a sender with its first
event.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from be_queue.worker.role import Role
from be_queue.worker.settings import Settings, current
from be_queue.worker.settings.setting_types import TD_NAME, TD_NAME_RULE

if TYPE_CHECKING:
    from be_queue.worker.fluent.sender import Sender

__all__ = ['MAX_FIELDS', 'EventLog', 'start', 'stop', 'td']

#: ``time`` is the event's own, which fluent-plugin-td writes over a field of that name; ``v`` is
#: a Hive column in tables that were made before August 2025 (td-client-ruby, change 156).
RESERVED = ('time', 'v')
#: fluent-plugin-td discards records of more than 512 fields, ``time`` included.
MAX_FIELDS = 511


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

        Raises ValueError or TypeError for anything else, on or off, with the name of the field and
        never its value.
        """
        _check(table, fields)
        sender = self._sender or self._make_sender()
        return sender is not None and sender.emit(table, dict(fields))

    def open(self, count: Callable[[str, int], None]) -> None:
        """Count events, from before the first one on.

        Arguments:
            count: called with ``sent`` or ``dropped`` and a number of events, from any thread.
        """
        self._count = count

    def close(self) -> int:
        """Send the events that wait, for two seconds at most; return how many were not sent."""
        return self._sender.close() if self._sender is not None else 0

    def _make_sender(self) -> Sender | None:
        config = current()
        if config.fluent_host is None:
            return None
        with self._lock:
            if self._sender is None:
                from be_queue.worker.fluent.sender import Sender

                self._sender = Sender(config, self._count)
                # For programs that do not call `close`; a second call does nothing.
                atexit.register(self.close)
        return self._sender

    def _reset(self) -> None:
        """Begin without a sender: in a fork its thread is not there, its locks may be held."""
        if self._sender is not None and self._sender.socket is not None:
            self._sender.socket.close()
        self._sender = None
        self._lock = threading.Lock()


def _check(table: str, fields: Mapping[str, Any]) -> None:
    """Raise an error for an event that Treasure Data would not take."""
    if not isinstance(table, str) or not TD_NAME.fullmatch(table):
        raise ValueError(f'table {table!r}: must be {TD_NAME_RULE}')
    if len(fields) > MAX_FIELDS:
        raise ValueError(f'an event has {len(fields)} fields: at most {MAX_FIELDS} are taken')
    for name, value in fields.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f'field {name!r}: a name must be a text that is not empty')
        if name in RESERVED:
            raise ValueError(f'field {name!r}: Treasure Data has that column itself; rename it')
        try:
            msgpack.packb({name: value})
        except (TypeError, ValueError, OverflowError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f'field {name!a}: {type(value).__name__} {error}; send text, bytes, numbers of '
                '64 bits, True, False, None, or lists and dicts of those'
            ) from None


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
