"""fluent-logger's asynchronous sender, with retries until the process ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from fluent import asyncsender  # type: ignore[import-untyped]

from be_queue.outage import Outage
from be_queue.worker.settings import Settings

__all__ = ['Sender']

logger = logging.getLogger(__name__)

#: Bytes that FLUENT_BUFFER counts for an event: the queue has a length, and events have any size.
EVENT_SIZE = 1024
#: Seconds to connect, and for the server to take what is sent.
TIMEOUT = 3.0
#: Seconds to send the events that wait when the process ends, and between retries in that time.
CLOSE_TIMEOUT = 2.0
CLOSE_PAUSE = 0.05
#: The longest wait between retries while the server is unavailable, in seconds.
MAX_WAIT = 2.0


class Sender(asyncsender.FluentSender):
    """Sends events one by one, in order. When its queue is full, the oldest are dropped.

    fluent-logger alone retries only with the next event, and loses the last ones at the end.

    Arguments:
        count: called with ``sent`` or ``dropped`` and a number of events, from any thread.
    """

    def __init__(self, config: Settings, count: Callable[[str, int], None]) -> None:
        self._count = count
        self._ending = threading.Event()
        self._gave_up = False
        # Guards the number of events that wait.
        self._change = threading.Condition()
        self._waiting = 0
        self._dropped = 0  # since one was last sent
        address = f'{config.fluent_host}:{config.fluent_port}'
        self._outage = Outage(f'event log server {address}', MAX_WAIT, 'FLUENT_HOST, FLUENT_PORT')
        super().__init__(
            f'td.{config.td_database}',
            host=config.fluent_host,
            port=config.fluent_port,
            timeout=TIMEOUT,
            nanosecond_precision=True,
            forward_packet_error=False,
            queue_maxsize=config.fluent_buffer // EVENT_SIZE,
            queue_circular=True,
            queue_overflow_handler=self._drop,
        )

    def emit(self, label: str, data: Mapping[str, Any]) -> bool:
        with self._change:
            if self._ending.is_set():
                return False
            self._waiting += 1
        return bool(super().emit(label, data))

    def close(self, timeout: float = CLOSE_TIMEOUT) -> int:
        """Send the events that wait, for ``timeout`` seconds at most; return how many are lost.

        fluent-logger's own waits without a limit, so it is called when nothing waits.
        """
        self._ending.set()
        with self._change:
            if self._gave_up:
                return 0
            self._gave_up = not self._change.wait_for(lambda: not self._waiting, timeout)
            left = self._waiting
        if not left:
            super().close()
            return 0
        self._count('dropped', left)
        logger.warning(
            'the process ends with event logs that could not be sent: events=%d: '
            'check FLUENT_HOST, FLUENT_PORT',
            left,
        )
        return left

    def _send_data(self, event: bytes) -> None:
        while not self._gave_up:
            # Servers and proxies close idle connections: that is no outage.
            was_connected = self.socket is not None
            try:
                super()._send_data(event)
            except OSError as error:
                self._close()
                if not was_connected or isinstance(error, TimeoutError):
                    self._pause(self._outage.failed(error))
                continue
            self._outage.ended()
            if self._is_counted('sent') and self._dropped:
                dropped, self._dropped = self._dropped, 0
                logger.warning('event logs are sent again: dropped=%d', dropped)
            return

    def _pause(self, seconds: float) -> None:
        if self._ending.wait(seconds):
            time.sleep(CLOSE_PAUSE)

    def _drop(self, event: bytes) -> None:
        if self._is_counted('dropped'):
            self._dropped += 1
            if self._dropped == 1:
                logger.warning(
                    'event logs do not fit in their buffer, the oldest are dropped: '
                    'check FLUENT_HOST, FLUENT_PORT, FLUENT_BUFFER'
                )

    def _is_counted(self, outcome: str) -> bool:
        """Count an event that waits no more, unless `close` has counted it as dropped."""
        with self._change:
            if self._gave_up:
                return False
            self._count(outcome, 1)  # before `close` lets the process end
            self._waiting -= 1
            self._change.notify_all()
            return True
