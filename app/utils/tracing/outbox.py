"""Takes finished spans from a process's tasks, and sends them from a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from be_queue.outage import MAX_WAIT, Outage

__all__ = ['Outbox']

#: Spans that wait, at most: of more, the oldest are dropped.
MOST = 1_000
#: Spans of one batch. One that does not get there is dropped as well: its fault may be its own.
BATCH = 200
#: Seconds for which spans are collected into a batch: a process that is killed loses those.
LINGER = 0.1


class Outbox:
    """Spans that wait to be sent.

    The thread starts with the first of them: a process that has none, as the worker's main process
    seldom has, is forked without threads. It does not survive a fork.

    Arguments:
        send: sends a batch; raises when it does not get there.
        close: is called when all is sent.
        outage: when to try again, and says so in the log; None to say nothing.
    """

    def __init__(
        self,
        send: Callable[[list[Any]], None],
        close: Callable[[], None],
        outage: Outage | None,
    ) -> None:
        self._send = send
        self._close = close
        self._outage = outage
        self._spans: deque[Any] = deque(maxlen=MOST)
        self._filled = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='spans', daemon=True)
        self._starting = threading.Lock()

    def put(self, span: Any) -> None:
        """Have a finished span sent soon; returns at once."""
        self._spans.append(span)
        if not self._filled.is_set():
            self._filled.set()
        if self._thread.ident is None:
            self._start()

    def stop(self, timeout: float) -> None:
        """Send what waits, for ``timeout`` seconds at most, and end the thread."""
        self._stopping.set()
        self._filled.set()
        self._start()
        self._thread.join(timeout)

    def _start(self) -> None:
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._filled.wait()
            self._stopping.wait(LINGER)
            self._filled.clear()
            wait = 0.0
            while self._spans and not self._stopping.wait(wait):
                wait = self._send_batch()
        while self._spans and not self._send_batch():
            pass
        self._close()

    def _send_batch(self) -> float:
        """Return the seconds to wait before another try; 0 when the batch is sent."""
        batch = [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]
        try:
            self._send(batch)
        except Exception as error:  # noqa: BLE001  (whatever an exporter raises)
            return MAX_WAIT if self._outage is None else self._outage.failed(error)
        if self._outage is not None:
            self._outage.ended()
        return 0.0
