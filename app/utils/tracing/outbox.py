"""Takes finished spans from a process's tasks, and sends them from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from be_queue.outage import MAX_WAIT, Outage

__all__ = ['Outbox']

logger = logging.getLogger(__name__)

#: Spans that wait, at most: of more, the oldest are dropped.
MOST = 1_000
#: Spans of one batch. One that does not get there is dropped as well: its fault may be its own.
BATCH = 200
#: Seconds for which spans are collected into a batch: a process that is killed loses those.
LINGER = 0.1
#: Seconds after which a thread that could not be had is asked for again.
THREAD_PAUSE = 1.0


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
        self._spans: deque[Any] = deque()
        self._filled = threading.Event()
        self._stopping = threading.Event()
        # Guards these two: spans dropped since the outbox was full, and the thread.
        self._state = threading.Lock()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._no_thread_at = float('-inf')

    def put(self, span: Any) -> None:
        """Have a finished span sent soon; returns at once, and raises nothing."""
        self._spans.append(span)
        while len(self._spans) > MOST:
            self._drop_oldest()
        if not self._filled.is_set():
            self._filled.set()
        if self._thread is None and time.monotonic() - self._no_thread_at >= THREAD_PAUSE:
            self._start()

    def stop(self, timeout: float) -> None:
        """Send what waits, for ``timeout`` seconds at most, and end the thread."""
        self._stopping.set()
        self._filled.set()
        self._start()
        if self._thread is not None:
            self._thread.join(timeout)

    def _start(self) -> None:
        with self._state:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name='spans', daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The message that the span is about is with SQS already: an error would have it
                # sent a second time.
                is_first = self._no_thread_at == float('-inf')
                self._no_thread_at = time.monotonic()
            else:
                self._thread = thread
                return
        if is_first:
            logger.warning(
                'spans wait for a thread that sends them, which this process cannot start: '
                'check its limits of processes and memory'
            )

    def _drop_oldest(self) -> None:
        oldest = self._pop(1)
        with self._state:
            is_first = bool(oldest) and not self._dropped
            self._dropped += len(oldest)
        if is_first:
            logger.warning(
                'spans come faster than they are sent, the oldest are dropped: waiting=%d: check '
                'that they are taken, and JAEGER_SAMPLER_TYPE and JAEGER_SAMPLER_PARAM',
                MOST,
            )

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
        self._say_dropped()  # in the midst of an outage
        self._close()

    def _send_batch(self) -> float:
        """Return the seconds to wait before another try; 0 when the batch is sent."""
        try:
            self._send(self._pop(BATCH))
        except Exception as error:  # noqa: BLE001  (whatever an exporter raises)
            return MAX_WAIT if self._outage is None else self._outage.failed(error)
        if self._outage is not None:
            self._outage.ended()
        if not self._spans:
            self._say_dropped()
        return 0.0

    def _pop(self, most: int) -> list[Any]:
        """Take the oldest spans; another thread may take some as well."""
        taken = []
        try:
            for _ in range(most):
                taken.append(self._spans.popleft())
        except IndexError:
            pass
        return taken

    def _say_dropped(self) -> None:
        with self._state:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            logger.warning('spans were dropped: dropped=%d', dropped)
