"""Sends messages ten at a time, with several requests in flight.

Each lane is a thread that sends one request after the other. Messages of one group of a FIFO queue
go by one lane: their order is kept, unless SQS refuses single messages of a request and takes them
at the next try.
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
from be_queue.transport.sending.limits import LARGEST
from be_queue.transport.sending.publishing import Request, collector
from be_queue.transport.sending.reach import Reach

__all__ = ['Batch', 'Entry']

logger = logging.getLogger(__name__)

#: Messages of one SendMessageBatch, a limit of SQS.
BATCH = 10
#: Bytes of one SendMessageBatch that every server takes. Since 2025 AWS takes `LARGEST`, but only
#: a queue that takes messages of that size tells.
BATCH_BYTES = 256 * 1024
#: Requests in flight.
LANES = 8
#: Requests that wait for a lane: more would be memory, and no faster.
WAITING = 2
#: How often a message is tried that SQS fails within a request that it answers.
TRIES = 5
#: Seconds of the first pause between them; each is twice as long.
FIRST_PAUSE = 0.2


class Entry:
    """The messages of one call, and what became of each."""

    def __init__(self) -> None:
        self._sent: list[Request] = []
        self._failed: dict[Request, Exception | str] = {}

    def sent(self, request: Request) -> None:
        """SQS has this one."""
        self._sent.append(request)

    def failed(self, request: Request, reason: Exception | str) -> None:
        """SQS has it not."""
        self._failed[request] = reason

    def error(self) -> NotSentError | None:
        """Return what is wrong, once the batch has ended; None when SQS has every message."""
        if not self._failed:
            return None
        # A call may have several tasks, those of a group: the first that failed stands for them.
        request, first = next(iter(self._failed.items()))
        task = request.task
        error = NotSentError(
            task.name,
            task.id,
            [request.queue for request in self._sent if request.task == task],
            {r.queue: str(reason) for r, reason in self._failed.items() if r.task == task},
        )
        error.__cause__ = first if isinstance(first, Exception) else None
        return error


class Part:
    """The messages of one SendMessageBatch.

    Arguments:
        reach: whether SQS answers the queue's client.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._messages: list[tuple[Entry, Request]] = []
        self._size = 0

    def has_room_for(self, request: Request) -> bool:
        """Return whether SQS takes one more."""
        most = min(max(request.limit, BATCH_BYTES), LARGEST)
        return not self.is_full and self._size + request.size <= most

    @property
    def is_full(self) -> bool:
        return len(self._messages) == BATCH

    def add(self, entry: Entry, request: Request) -> None:
        self._messages.append((entry, request))
        self._size += request.size

    def send(self) -> None:
        """Send it; again what SQS failed and may take another time."""
        if self._reach.lost is not None:
            self.fail(self._reach.lost)
            return
        left = self._messages
        for attempt in range(TRIES):
            if attempt:
                pause = FIRST_PAUSE * 2 ** (attempt - 1)
                time.sleep(random.uniform(pause / 2, pause))
            left = self._try(left, last=attempt == TRIES - 1)
            if not left:
                return

    def fail(self, error: Exception) -> None:
        """None of it was sent."""
        for entry, request in self._messages:
            entry.failed(request, error)

    def _try(
        self, messages: list[tuple[Entry, Request]], last: bool
    ) -> list[tuple[Entry, Request]]:
        request = messages[0][1]
        entries = [{'Id': str(i), **r.params} for i, (_, r) in enumerate(messages)]
        try:
            answer = request.client.send_message_batch(QueueUrl=request.url, Entries=entries)
        except Exception as error:  # noqa: BLE001  (a source of credentials may raise anything)
            # boto3 has tried it several times.
            if isinstance(error, ClientError):
                self._reach.answered()
            else:
                self._reach.unanswered(error)
            for entry, request in messages:
                entry.failed(request, error)
            return []
        self._reach.answered()
        taken = {taken['Id'] for taken in answer.get('Successful', [])}
        refused = {refused['Id']: refused for refused in answer.get('Failed', [])}
        left = []
        for i, (entry, request) in enumerate(messages):
            if str(i) in taken:
                entry.sent(request)
                continue
            fault = refused.get(str(i), {})
            if last or fault.get('SenderFault'):
                code, text = fault.get('Code', 'no answer'), fault.get('Message', '')
                entry.failed(request, f'{code}: {text}')
            else:
                left.append((entry, request))
        return left


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
    """Takes what this thread publishes, and sends it in batches; all is sent when it ends."""

    def __init__(self) -> None:
        self._lanes: list[Lane] = []
        #: By boto3 client: with predefined queues, each may be of another server.
        self._reaches: dict[Any, Reach] = {}
        #: By lane and queue URL.
        self._filling: dict[tuple[int, str], Part] = {}
        #: By queue URL.
        self._next_lanes: dict[str, int] = {}
        self._lanes_of_groups: dict[tuple[str, str], int] = {}
        self._collected: list[Request] = []
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
                for thread in self._lanes:
                    thread.abandon()

    @property
    def lost(self) -> Exception | None:
        """Why nothing more is sent; None while some SQS server answers or may answer."""
        reasons = [reach.lost for reach in self._reaches.values()]
        return reasons[0] if reasons and None not in reasons else None

    def add(self, requests: list[Request]) -> None:
        """Take the requests of a message, until `commit` or `discard`."""
        self._collected += requests

    def discard(self) -> None:
        """Forget what was taken since the last `commit`: its call failed half-way."""
        self._collected.clear()

    def commit(self, entry: Entry) -> None:
        """Send what was taken since the last time, and tell ``entry`` what became of it."""
        for request in self._collected:
            lane = self._lane_for(request)
            part = self._part_for(request, lane)
            if not part.has_room_for(request):
                self._send_filled(lane, request.url)
                lane = self._lane_for(request)
                part = self._part_for(request, lane)
            part.add(entry, request)
            if part.is_full:
                self._send_filled(lane, request.url)
        self._collected.clear()

    def _lane_for(self, request: Request) -> int:
        # Each queue begins on another: a few messages go to theirs side by side.
        lane = self._next_lanes.setdefault(request.url, len(self._next_lanes) % LANES)
        if 'MessageDeduplicationId' in request.params:  # FIFO
            group = request.params['MessageGroupId']
            return self._lanes_of_groups.setdefault((request.url, group), lane)
        return lane

    def _part_for(self, request: Request, lane: int) -> Part:
        part = self._filling.get((lane, request.url))
        if part is None:
            reach = self._reaches.setdefault(request.client, Reach())
            part = self._filling[lane, request.url] = Part(reach)
        return part

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
