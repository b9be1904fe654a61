"""The event log of a process."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from app.config.configuration import load_config
from app.utils.fluent.fields import check_fields, check_table

if TYPE_CHECKING:
    from app.utils.fluent.sender import Sender

__all__ = ['EventLog']

logger = logging.getLogger(__name__)


class EventLog:
    """Takes events from any thread; the first event of a process makes its sender.

    A forked process starts without a sender, whatever its parent has.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sender: Sender | None = None
        self._ended = False
        self._count: Callable[[str, int], None] = _nobody_counts
        os.register_at_fork(after_in_child=self._forked)

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
        check_table(table)
        check_fields(fields)
        sender = None if self._ended else self._sender or self._make_sender()
        return sender is not None and bool(sender.emit(table, dict(fields)))

    def open(self, count: Callable[[str, int], None]) -> None:
        """Count events from now on; take events again after `close`.

        Arguments:
            count: called with ``sent`` or ``dropped`` and a number of events, from any thread.
        """
        self._count = count
        if self._ended:
            self._sender, self._ended = None, False

    def close(self) -> int:
        """Send the events that wait, for two seconds at most; return how many were not sent."""
        self._ended = True
        return self._sender.close() if self._sender is not None else 0

    def _make_sender(self) -> Sender | None:
        config = load_config()
        if config.fluent_host is None:
            return None
        with self._lock:
            if self._sender is None and not self._ended:
                from app.utils.fluent.sender import Sender

                try:
                    self._sender = Sender(config, self._counted)
                except RuntimeError:
                    # No thread can be made: too many, or the interpreter ends.
                    logger.exception('event logs are not sent by this process')
                    self._ended = True
                else:
                    # For programs that do not call `close`; a second call does nothing.
                    atexit.register(self.close)
        return self._sender

    def _counted(self, outcome: str, events: int) -> None:
        self._count(outcome, events)

    def _forked(self) -> None:
        """Drop the parent's sender: its thread is not here, its locks may be held."""
        inherited, self._sender = self._sender, None
        self._lock = threading.Lock()
        self._ended = False
        if inherited is not None and inherited.socket is not None:
            with contextlib.suppress(OSError):
                inherited.socket.close()


def _nobody_counts(outcome: str, events: int) -> None:
    """Count nothing: only the worker's processes have metrics."""
