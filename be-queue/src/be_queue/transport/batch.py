"""Sends messages ten at a time, with several requests in flight.

Each lane is a thread that sends one request after the other. Messages of one group of a FIFO queue
go by one lane: their order is kept, unless SQS refuses single messages of a request and takes them
with the next attempt.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import queue as queues
import random
import threading
import time
from typing import Any

from botocore.exceptions import ClientError

from be_queue.errors import NotSentError
from be_queue.transport.messages import BATCH_BYTES, MAX_BYTES
from be_queue.transport.publishing import SendRequest, collector
from be_queue.transport.requests import BATCH_SIZE

__all__ = ['LANES', 'MAX_FAILURES', 'Batch', 'Entry']

logger = logging.getLogger(__name__)

#: Requests in flight.
LANES = 8
#: Requests that wait for a lane: more would be memory, and no faster.
WAITING = 2
#: Attempts for a message that SQS fails within a request that it answers.
ATTEMPTS = 5
#: Seconds of the first pause between them; each is twice as long.
FIRST_PAUSE_SECONDS = 0.2
#: Requests in a row without an answer that open the circuit.
MAX_FAILURES = 3


class Entry:
    """The messages of one call, and the outcome of each."""

    def __init__(self) -> None:
        self.sent: list[SendRequest] = []
        self.failed: dict[SendRequest, Exception | str] = {}

    def error(self) -> NotSentError | None:
        """Return what is wrong, once the batch has ended; None when SQS has every message."""
        if not self.failed:
            return None
        # A call may have several tasks, those of a group: the first that failed stands for them.
        request, first = next(iter(self.failed.items()))
        task = request.task
        error = NotSentError(
            *task,
            [request.queue for request in self.sent if request.task == task],
            {r.queue: str(reason) for r, reason in self.failed.items() if r.task == task},
        )
        error.__cause__ = first if isinstance(first, Exception) else None
        return error


class CircuitBreaker:
    """Stops requests to a server that does not answer: each would wait until its time-out.

    It opens when requests to one SQS server, of any thread, find no answer, and never closes again:
    it lives as long as one `send_batch`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        #: Why it is open: the error of the last request; None while it is closed.
        self.error: Exception | None = None

    def succeeded(self) -> None:
        """Count an answer of SQS, be it an error."""
        with self._lock:
            self._failures = 0

    def failed(self, error: Exception) -> None:
        """Count a request that found no answer, after all its attempts."""
        with self._lock:
            self._failures += 1
            if self._failures >= MAX_FAILURES and self.error is None:
                self.error = error


class Part:
    """The messages of one SendMessageBatch.

    Arguments:
        breaker: of the queue's server.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._messages: list[tuple[Entry, SendRequest]] = []
        self._size = 0

    @property
    def is_full(self) -> bool:
        return len(self._messages) == BATCH_SIZE

    def has_room_for(self, request: SendRequest) -> bool:
        """Return whether SQS takes one more."""
        limit = min(max(request.limit, BATCH_BYTES), MAX_BYTES)
        return not self.is_full and self._size + request.size <= limit

    def add(self, entry: Entry, request: SendRequest) -> None:
        self._messages.append((entry, request))
        self._size += request.size

    def send(self) -> None:
        """Send it; retry messages that SQS failed and may take another time."""
        if self._breaker.error is not None:
            self.fail(self._breaker.error)
            return
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
                time.sleep(random.uniform(pause / 2, pause))
            self._messages = self._try(is_last=attempt == ATTEMPTS - 1)
            if not self._messages:
                return

    def fail(self, error: Exception) -> None:
        """Say that nothing of it was sent."""
        for entry, request in self._messages:
            entry.failed[request] = error

    def _try(self, is_last: bool) -> list[tuple[Entry, SendRequest]]:
        """Return the messages to retry."""
        _, first = self._messages[0]
        entries = [{'Id': str(i), **r.params} for i, (_, r) in enumerate(self._messages)]
        try:
            answer = first.client.send_message_batch(QueueUrl=first.url, Entries=entries)
        except Exception as error:  # noqa: BLE001  (a source of credentials may raise anything)
            # boto3 has tried it several times.
            if isinstance(error, ClientError):
                self._breaker.succeeded()
            else:
                self._breaker.failed(error)
            self.fail(error)
            return []
        self._breaker.succeeded()
        taken = {taken['Id'] for taken in answer.get('Successful', [])}
        refused = {refused['Id']: refused for refused in answer.get('Failed', [])}
        retried = []
        for i, (entry, request) in enumerate(self._messages):
            fault = refused.get(str(i), {})
            if str(i) in taken:
                entry.sent.append(request)
            elif is_last or fault.get('SenderFault'):
                code, text = fault.get('Code', 'no answer'), fault.get('Message', '')
                entry.failed[request] = f'{code}: {text}'
            else:
                retried.append((entry, request))
        return retried


class Lane(threading.Thread):
    """Sends parts one after the other."""

    def __init__(self) -> None:
        super().__init__(name='send-batch', daemon=True)
        self._parts: queues.Queue[Part | None] = queues.Queue(WAITING)

    def put(self, part: Part | None) -> None:
        """Send a part after those before it; None ends the lane. Waits while many wait."""
        self._parts.put(part)

    def abandon(self) -> None:
        """Drop the parts that wait, and end."""
        with contextlib.suppress(queues.Empty):
            while True:
                self._parts.get_nowait()
        self._parts.put_nowait(None)

    def run(self) -> None:
        while (part := self._parts.get()) is not None:
            try:
                part.send()
            except Exception as error:
                logger.exception('a batch was not sent')
                part.fail(error)


class Batch:
    """Collects what this thread publishes, and sends it in batches; all is sent when it ends."""

    def __init__(self) -> None:
        self._lanes: list[Lane] = []
        #: By boto3 client: each predefined queue may be of another server.
        self._breakers: dict[Any, CircuitBreaker] = {}
        #: By lane and queue URL.
        self._filling: dict[tuple[int, str], Part] = {}
        #: By queue URL.
        self._next_lanes: dict[str, int] = {}
        self._lanes_of_groups: dict[tuple[str, str], int] = {}
        self._collected: list[SendRequest] = []
        self._token: contextvars.Token[Any] | None = None

    def __enter__(self) -> Batch:
        self._token = collector.set(self)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._token is not None:
            collector.reset(self._token)
        is_sent = False
        try:
            if error is None:
                self._send_rest()
                is_sent = True
        finally:
            # The process or the task is being stopped, maybe while this waited: a lane that nobody
            # ends would wait for parts as long as the process lives.
            if not is_sent:
                for lane in self._lanes:
                    lane.abandon()

    @property
    def given_up(self) -> Exception | None:
        """Why nothing more is sent; None while some SQS server answers or may answer."""
        errors = [breaker.error for breaker in self._breakers.values()]
        return errors[0] if errors and None not in errors else None

    def add(self, requests: list[SendRequest]) -> None:
        """Collect the requests of a message, until `commit` or `discard`."""
        self._collected += requests

    def discard(self) -> None:
        """Forget what was collected since the last `commit`: its call failed half-way."""
        self._collected.clear()

    def commit(self, entry: Entry) -> None:
        """Send what was collected since the last time, and note in ``entry`` what becomes of it."""
        for request in self._collected:
            lane, part = self._part_for(request)
            if not part.has_room_for(request):
                self._send_filled(lane, request.url)
                lane, part = self._part_for(request)
            part.add(entry, request)
            if part.is_full:
                self._send_filled(lane, request.url)
        self._collected.clear()

    def _part_for(self, request: SendRequest) -> tuple[int, Part]:
        # Each queue begins on another lane: a few messages go to their queues side by side.
        lane = self._next_lanes.setdefault(request.url, len(self._next_lanes) % LANES)
        if 'MessageDeduplicationId' in request.params:  # FIFO
            group = request.params['MessageGroupId']
            lane = self._lanes_of_groups.setdefault((request.url, group), lane)
        part = self._filling.get((lane, request.url))
        if part is None:
            breaker = self._breakers.setdefault(request.client, CircuitBreaker())
            part = self._filling[lane, request.url] = Part(breaker)
        return lane, part

    def _send_filled(self, lane: int, url: str) -> None:
        self._put(lane, self._filling.pop((lane, url)))
        if self._next_lanes[url] == lane:
            self._next_lanes[url] = (lane + 1) % LANES

    def _send_rest(self) -> None:
        for (lane, _url), part in self._filling.items():
            self._put(lane, part)
        for thread in self._lanes:
            thread.put(None)
        for thread in self._lanes:
            thread.join()

    def _put(self, lane: int, part: Part) -> None:
        while len(self._lanes) <= lane:
            thread = Lane()
            # First: one that starts while the task is being stopped is ended too.
            self._lanes.append(thread)
            thread.start()
        self._lanes[lane].put(part)
