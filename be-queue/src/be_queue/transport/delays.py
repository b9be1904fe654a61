"""Sends messages again whose time has not come: SQS delays a message by 15 minutes at most.

A message that is for later is received before its time. It is sent again with a new delay, and the
old copy is deleted once SQS has confirmed the new one. Each copy is a new message, so waiting uses
up no attempts. FIFO queues have no delay by message: there the worker holds it.

    WAITING -> SENDING -> confirmed, and the old copy deleted
       ^          |
       +----------+ the send failed: retried after a wait
       |
       +-> HIDDEN until its time, where retries could make copies without end: SQS may have taken
           the new one though no answer came, or deletes fail; and when a minute of retries has not
           helped, or too many messages wait for it

Until then a message is held like those that run: hidden from others, handed back at the end. There
is a copy at every moment, so nothing is lost. There are two, and the task runs twice, when SQS took
the new one and its answer was lost, or the worker was killed before the old one was deleted.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from celery.utils.time import maybe_iso8601, maybe_make_aware

from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.messages import BATCH_BYTES, copy_of
from be_queue.transport.requests import BATCH_SIZE
from be_queue.transport.sqs_errors import may_be_done
from be_queue.transport.visibility import MAX_SECONDS, change_visibility

__all__ = [
    'HELD_SECONDS',
    'MAX_DELAY_SECONDS',
    'Redelivery',
    'Waiting',
    'batches',
    'delay_seconds',
    'due_at',
    'seconds_left',
]

logger = logging.getLogger(__name__)

#: The longest DelaySeconds, a limit of SQS.
MAX_DELAY_SECONDS = 900
#: Seconds before its time from which on Celery holds a message: the part of a second that a delay
#: cannot say, and as much again for clocks that differ.
HELD_SECONDS = 2.0
RETRY_LIMIT_SECONDS = 60.0
#: Seconds until a message that SQS did not take from a batch is retried.
RETRY_SECONDS = 1.0
#: Messages of a queue that wait to be sent again.
MAX_WAITING = 300
#: Seconds for which a message can be hidden, after all these retries.
MAX_HIDDEN_SECONDS = MAX_SECONDS - 5 * RETRY_LIMIT_SECONDS


def delay_seconds(message: dict[str, Any]) -> int:
    """Return the DelaySeconds with which to send a message; 0 when it may start at once.

    Rounded down: a worker holds the message for the rest, so that its task is not late.
    """
    return int(min(seconds_left(message), MAX_DELAY_SECONDS))


def seconds_left(message: dict[str, Any], now: float | None = None) -> float:
    """Return the seconds until a message's time; 0 for none, and for one that cannot be read.

    ``now`` is in seconds since 1970, by default the time.
    """
    headers = message.get('headers')
    eta = headers.get('eta') if isinstance(headers, dict) else None
    if not eta:
        return 0.0
    try:
        # Celery's own functions: it must come to the same time when it gets the message.
        at: float = maybe_make_aware(maybe_iso8601(eta)).timestamp()
    except (AttributeError, OverflowError, TypeError, ValueError):
        return 0.0  # Celery refuses the message, and says why
    return max(0.0, at - (time.time() if now is None else now))


def due_at(received: dict[str, Any], message: dict[str, Any]) -> float:
    """Return when a message could run first, in seconds since 1970: sent, and its time come.

    ``received`` is the message as SQS returned it, ``message`` the same, decoded.
    """
    try:
        sent_at = int(received['Attributes']['SentTimestamp']) / 1000
    except (KeyError, TypeError, ValueError):
        sent_at = time.time()
    return sent_at + seconds_left(message, sent_at)


@dataclass(eq=False)
class Waiting:
    """A message that is to be sent again: as SQS returned it, and decoded.

    It has the ``delivery_info`` of a message that Celery holds.
    """

    message: dict[str, Any]
    payload: dict[str, Any]
    delivery_info: dict[str, Any]

    @property
    def handle(self) -> str:
        return str(self.message['ReceiptHandle'])


class Redelivery:
    """The messages of one queue that are to be sent again, until SQS confirms each."""

    def __init__(self, channel: Any, queue: str, url: str) -> None:
        self._channel = channel
        self._queue = queue
        self._url = url
        self._waiting: list[Waiting] = []
        #: Those of requests without an answer yet.
        self._sending: list[Waiting] = []
        self._is_planned = False
        self._is_stopped = False
        self._outage = Outage(
            f'sending delayed messages again to SQS queue {queue}', hint=CHECK_SQS
        )

    def held(self) -> list[tuple[str, Waiting]]:
        """Return receipt handle and message of all that are to be kept hidden."""
        # Once stopped that is nothing: the rest is handed back.
        held = [] if self._is_stopped else [*self._waiting, *self._sending]
        return [(waiting.handle, waiting) for waiting in held]

    def add(self, message: dict[str, Any], payload: dict[str, Any]) -> None:
        """Send a message again soon, together with the others of the same receive."""
        info = {
            'received_from': self._queue,
            'sqs_queue': self._url,
            'sqs_message': message,
            'received_at': time.monotonic(),
        }
        self._waiting.append(Waiting(message, payload, info))
        self._plan(0.0)

    def stop(self) -> None:
        """Send no more, and hand back what waits for it."""
        self._is_stopped = True
        handles = [waiting.handle for waiting in self._waiting]
        self._waiting.clear()
        self._channel.hand_back.release_handles(self._queue, self._url, handles)

    def _plan(self, delay: float) -> None:
        if not self._is_planned:
            self._is_planned = True
            self._channel.hub.call_later(delay, self._send_all)

    def _send_all(self) -> None:
        self._is_planned = False
        if self._is_stopped:
            return
        waiting, self._waiting = self._waiting, []
        since = time.monotonic() - RETRY_LIMIT_SECONDS
        room = max(MAX_WAITING - len(self._sending), 0)
        if self._channel.acks(self._queue, self._url).is_failing:
            room = 0
        sent = [each for each in waiting if each.delivery_info['received_at'] >= since][:room]
        self._hide([each for each in waiting if each not in sent])
        self._sending += sent
        for batch, entries in batches(sent):
            self._send(batch, entries)

    def _send(self, batch: list[Waiting], entries: list[dict[str, Any]]) -> None:
        asked_at = time.monotonic()

        def answered(answer: dict[str, Any]) -> None:
            self._outage.ended()
            taken = {int(entry['Id']) for entry in answer.get('Successful') or []}
            for i in taken:
                self._channel.acks(self._queue, self._url).add(batch[i].handle)
            left = [waiting for i, waiting in enumerate(batch) if i not in taken]
            self._sent(batch, left, RETRY_SECONDS)

        def failed(error: Exception) -> None:
            wait = self._outage.failed(error, asked_at)
            if may_be_done(error) and not self._is_stopped:
                self._hide(batch)  # a retry could be another copy
                self._sent(batch, [], wait)
            else:
                self._sent(batch, batch, wait)

        params = {'QueueUrl': self._url, 'Entries': entries}
        self._channel.requests.call(
            self._queue, 'SendMessageBatch', params, answered, failed, once=True
        )

    def _sent(self, batch: list[Waiting], left: list[Waiting], retry_in: float) -> None:
        self._sending = [waiting for waiting in self._sending if waiting not in batch]
        self._waiting += left
        if self._is_stopped:
            self.stop()
        elif left:
            self._plan(retry_in)

    def _hide(self, hidden: list[Waiting]) -> None:
        """Delay messages on SQS until they are due; one that cannot be comes back earlier."""
        if hidden and not self._outage.lasts:  # which has been logged
            logger.warning(
                'delayed messages cannot be sent again, SQS hides them until their time, which is '
                'an attempt: queue=%s messages=%d',
                self._queue,
                len(hidden),
            )
        seconds = {
            waiting.handle: int(min(seconds_left(waiting.payload), MAX_HIDDEN_SECONDS))
            for waiting in hidden
        }
        change_visibility(self._channel, self._queue, self._url, seconds, lambda *_: None)


def batches(waiting: list[Waiting]) -> list[tuple[list[Waiting], list[dict[str, Any]]]]:
    """Return messages and the entries of their copies in parts that fit a request each."""
    found: list[tuple[list[Waiting], list[dict[str, Any]]]] = []
    size = 0
    for each in waiting:
        entry = copy_of(each.message, delay_seconds(each.payload))
        length = len(json.dumps(entry))  # a little more than what SQS counts, never less
        size += length
        if not found or len(found[-1][0]) == BATCH_SIZE or size > BATCH_BYTES:
            found.append(([], []))
            size = length
        messages, entries = found[-1]
        messages.append(each)
        entries.append({'Id': str(len(entries))} | entry)
    return found
