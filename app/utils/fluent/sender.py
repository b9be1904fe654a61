"""Sends events in a thread: fluent-logger's asynchronous sender, made safe for tasks to use."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from fluent import asyncsender  # type: ignore[import-untyped]

from app.config.configuration import Config
from be_queue.outage import Outage

__all__ = ['Sender']

logger = logging.getLogger(__name__)

#: Seconds to connect, and for the server to take an event.
TIMEOUT = 3.0
#: Milliseconds after which a server that does not confirm what it gets is given up: else the kernel
#: tries for a quarter of an hour, and all that was written meanwhile is lost.
UNCONFIRMED = 10_000
#: Seconds to send what waits when the process ends, and between two tries in that time.
CLOSE_TIMEOUT = 2.0
CLOSE_PAUSE = 0.05
#: Seconds between two tries while the server is away.
MAX_WAIT = 2.0


class Sender(asyncsender.FluentSender):
    """Takes events without waiting and sends them one by one, in order, until each is sent.

    The packets, the thread and the socket are fluent-logger's. Its buffers are not used. They
    block, or drop everything at once; they try again only when another event comes; and they are
    forgotten at the end, which may take for ever.

    Arguments:
        config: says where the server is and how much may wait for it.
        count: called with ``sent`` or ``dropped`` and a number of events.
    """

    _closed: bool

    def __init__(self, config: Config, count: Callable[[str, int], None]) -> None:
        self._count = count
        # Never blocks, and a time limit that interrupts it leaves no lock behind.
        self._events: SimpleQueue[bytes | None] = SimpleQueue()
        self._limit = config.fluent_buffer
        # Guards these: events not sent yet, their bytes, those dropped since the buffer was full,
        # and whether one was larger than all of it.
        self._state = threading.Lock()
        self._waiting = 0
        self._bytes = 0
        self._lost = 0
        self._had_large = False
        self._gave_up = False
        self._closing = threading.Event()
        address = f'{config.fluent_host}:{config.fluent_port}'
        self._outage = Outage(f'event log server {address}', MAX_WAIT, 'FLUENT_HOST, FLUENT_PORT')
        super().__init__(
            f'td.{config.td_database}',
            host=config.fluent_host,
            port=config.fluent_port,
            timeout=TIMEOUT,
            nanosecond_precision=True,
            forward_packet_error=False,
        )

    def close(self, timeout: float = CLOSE_TIMEOUT) -> int:
        """Send what waits, for ``timeout`` seconds at most; return how many events are lost."""
        with self._state:
            if self._closed:
                return 0
            self._closed = True
        self._events.put(None)
        self._closing.set()
        self._send_thread.join(timeout)
        with self._state:
            self._gave_up = True
            left, self._waiting = self._waiting, 0
            lost, self._lost = self._lost, 0
        if left:
            self._count('dropped', left)
            logger.warning(
                'the process ends with event logs that could not be sent: events=%d: '
                'check FLUENT_HOST, FLUENT_PORT',
                left,
            )
        _log_lost(lost)
        return left

    def _send(self, event: bytes) -> bool:
        """Have an event wait, in the thread that logs it."""
        fits = len(event) <= self._limit
        with self._state:
            taken = fits and not self._closed
            dropped = self._make_room(len(event)) if taken else 1
            is_full = taken and dropped > 0 and not self._lost
            is_first_large = not (fits or self._had_large)
            self._had_large |= not fits
            if taken:
                self._lost += dropped
                self._waiting += 1
                self._bytes += len(event)
                self._events.put(event)
        if dropped:
            self._count('dropped', dropped)
        if is_first_large:
            logger.warning(
                'an event log is larger than the buffer and is dropped, as is each that follows: '
                'bytes=%d: make it smaller, or FLUENT_BUFFER=%d larger',
                len(event),
                self._limit,
            )
        if is_full:
            logger.warning(
                'event logs do not fit in their buffer, the oldest are dropped: bytes=%d: '
                'check FLUENT_HOST, FLUENT_PORT, FLUENT_BUFFER',
                self._limit,
            )
        return taken

    def _make_room(self, size: int) -> int:
        dropped = 0
        while self._bytes + size > self._limit:
            try:
                oldest = self._events.get_nowait()
            except Empty:
                break  # the rest is the event that is being sent
            assert oldest is not None
            self._bytes -= len(oldest)
            dropped += 1
        self._waiting -= dropped
        return dropped

    def _send_loop(self) -> None:
        """Send, in the sender's thread, until the end."""
        while (event := self._events.get()) is not None:
            self._deliver(event)
        self._close()

    def _deliver(self, event: bytes) -> None:
        while not self._gave_up:
            connected = self.socket is not None
            try:
                self._send_data(event)
            except Exception as error:  # noqa: BLE001  (a thread that ends would send nothing more)
                self._close()
                # Servers and proxies close connections that are idle: that is no outage.
                if not connected or isinstance(error, TimeoutError):
                    self._wait(self._outage.failed(error))
            else:
                self._outage.ended()
                self._sent(event)
                return

    def _send_data(self, event: bytes) -> None:
        """Write an event, as fluent-logger does, but do not look at the connection afterwards.

        A server that has closed it by then may have the event, and would get it a second time.
        """
        self._reconnect()
        self._check_recv_side()
        rest = memoryview(event)
        while rest:
            # By parts: the time limit is for a server that takes nothing, not for a large event.
            rest = rest[self.socket.send(rest) :]

    def _reconnect(self) -> None:
        is_new = self.socket is None
        super()._reconnect()
        if is_new and hasattr(socket, 'TCP_USER_TIMEOUT'):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNCONFIRMED)

    def _sent(self, event: bytes) -> None:
        with self._state:
            if self._gave_up:
                return  # it is counted as dropped
            self._waiting -= 1
            self._bytes = self._bytes - len(event) if self._waiting else 0
            lost = 0
            if not self._waiting:
                lost, self._lost = self._lost, 0
        self._count('sent', 1)
        _log_lost(lost)

    def _wait(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            time.sleep(CLOSE_PAUSE)


def _log_lost(events: int) -> None:
    if events:
        logger.warning('event logs fit in their buffer again: dropped=%d', events)
