"""Sends messages again whose time has not come.

SQS delays a message by 15 minutes at most. One that is for later is received before its time, and
hops: it is sent again with a new delay, and the old copy is deleted once SQS has confirmed the new
one. Each hop is a new message, so waiting uses up no attempts. FIFO queues have no delay by
message: there the worker holds it.

    WAITING -> SENDING -> confirmed, and the old copy deleted
       ^          |
       +----------+ the send failed: again after a wait
       |
       +-> hidden until its time, where another try could make copies without end: SQS may have
           taken the new one though no answer came, or deletes fail; and when trying has not
           helped for a minute, or too many messages wait for it

Until then a message is held like those that run: hidden from others, handed back at the end. One
that is hidden until its time uses up an attempt.

At every moment there is a copy, so nothing is lost. There are two, and the task runs twice, when
SQS took the new one and its answer was lost, or the worker was killed before the old one was
deleted: once for each message on its way at that time.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.holding import visibility
from be_queue.transport.holding.release import release
from be_queue.transport.sending.copies import copy_of
from be_queue.transport.sending.delays import delay_seconds, seconds_left

__all__ = ['Hops']

logger = logging.getLogger(__name__)

#: Seconds before its time from which on Celery holds a message: the part of a second that a delay
#: cannot say, and as much again for clocks that differ.
HELD = 2.0
#: Messages of one batch, a limit of SQS.
BATCH = 10
#: Bytes of one SendMessageBatch: four times that on AWS, this on older servers.
BATCH_BYTES = 256 * 1024
#: Seconds for which it is tried to send a message again.
PATIENCE = 60.0
#: Messages of a queue, and their bytes, that wait for that at a time: what some receives side by
#: side bring while SQS takes their copies, and what a worker has memory for.
MOST_WAITING = 300
MOST_BYTES = 32 * 1024 * 1024
#: Seconds until what SQS did not take of a batch is tried again.
RETRY_DELAY = 1.0
#: Seconds of the longest time that a message can be hidden, after all that patience.
LONGEST_HIDDEN = visibility.LONGEST - 5 * PATIENCE


@dataclass(eq=False)
class Hop:
    """A message that is to be sent again.

    Arguments:
        queue: the queue's name in kombu.
        url: its URL on SQS.
        message: as SQS gave it.
        payload: the same, decoded.
    """

    queue: str
    url: str
    message: dict[str, Any]
    payload: dict[str, Any]
    received_at: float = field(default_factory=time.monotonic)

    @property
    def handle(self) -> str:
        return str(self.message['ReceiptHandle'])

    @property
    def delivery_info(self) -> dict[str, Any]:
        """As a message has it that Celery holds."""
        return {
            'received_from': self.queue,
            'sqs_queue': self.url,
            'sqs_message': self.message,
            'received_at': self.received_at,
        }

    def entry(self) -> dict[str, Any]:
        """Return what SendMessageBatch takes for its copy."""
        return copy_of(self.message, delay_seconds(self.payload))


class QueueHops:
    """The messages of one queue that are to be sent again, until SQS confirms each.

    Arguments:
        channel: the `Channel` that received them.
        queue: the queue's name in kombu.
        url: its URL on SQS.
    """

    def __init__(self, channel: Any, queue: str, url: str) -> None:
        self.waiting: list[Hop] = []
        #: Asked for and not yet answered.
        self.sending: list[Hop] = []
        self._channel = channel
        self._queue = queue
        self._url = url
        self._planned = False
        self._stopped = False
        self._outage = Outage(
            f'sending delayed messages again to SQS queue {queue}', hint=CHECK_SQS
        )

    @property
    def held(self) -> list[Hop]:
        """What is to be kept hidden. Once stopped that is nothing: the rest goes back."""
        return [] if self._stopped else [*self.waiting, *self.sending]

    def add(self, hop: Hop) -> None:
        """Send a message again soon."""
        self.waiting.append(hop)
        self._plan(0.0)  # together with the others of the same receive

    def stop(self) -> None:
        """Send no more, and hand back what waits for it."""
        self._stopped = True
        waiting, self.waiting = self.waiting, []
        release(self._channel, [(self._queue, self._url, hop.handle) for hop in waiting])

    def _plan(self, delay: float) -> None:
        if not self._planned:
            self._planned = True
            self._channel.hub.call_later(delay, self._send_all)

    def _send_all(self) -> None:
        self._planned = False
        if self._stopped:
            return
        waiting, self.waiting = self.waiting, []
        sent, hidden = self._divide(waiting)
        self._hide(hidden)
        self.sending += sent
        for entries in _batches(sent):
            self._send(entries)

    def _divide(self, waiting: list[Hop]) -> tuple[list[Hop], list[Hop]]:
        """Return those that may be sent again, and the others."""
        if self._channel.acks(self._queue, self._url).failing:
            return [], waiting
        sent: list[Hop] = []
        hidden: list[Hop] = []
        since = time.monotonic() - PATIENCE
        count = len(self.sending)
        size = sum(len(hop.message['Body']) for hop in self.sending)
        for hop in waiting:
            count += 1
            size += len(hop.message['Body'])
            fits = count <= MOST_WAITING and size <= MOST_BYTES
            (sent if fits and hop.received_at >= since else hidden).append(hop)
        return sent, hidden

    def _send(self, entries: list[tuple[Hop, dict[str, Any]]]) -> None:
        asked_at = time.monotonic()
        hops = [hop for hop, _ in entries]

        def answered(answer: dict[str, Any]) -> None:
            self._settle(hops)
            self._outage.ended()
            confirmed = [hops[int(entry['Id'])] for entry in answer.get('Successful') or []]
            acks = self._channel.acks(self._queue, self._url)
            for hop in confirmed:
                acks.add(hop.handle)
            refused = {hops[int(entry['Id'])]: entry for entry in answer.get('Failed') or []}
            for_good = [hop for hop, entry in refused.items() if entry.get('SenderFault')]
            for hop in for_good:
                logger.warning(
                    'SQS refuses to take a delayed message again, it stays hidden until its time: '
                    'queue=%s message_id=%s error=%s',
                    self._queue,
                    hop.message.get('MessageId'),
                    refused[hop].get('Message'),
                )
            self._hide(for_good)
            self._try_again(
                [hop for hop in hops if hop not in (*confirmed, *for_good)], RETRY_DELAY
            )

        def failed(error: Exception) -> None:
            self._settle(hops)
            wait = self._outage.failed(error, asked_at)
            if getattr(error, 'maybe_done', False) and not self._stopped:
                self._hide(hops)  # another try could be another copy
            else:
                self._try_again(hops, wait)

        numbered = [{'Id': str(i)} | entry for i, (_, entry) in enumerate(entries)]
        self._call('SendMessageBatch', numbered, answered, failed, once=True)

    def _settle(self, hops: list[Hop]) -> None:
        self.sending = [hop for hop in self.sending if hop not in hops]

    def _try_again(self, hops: list[Hop], delay: float) -> None:
        self.waiting += hops
        if self._stopped:
            self.stop()
        elif hops:
            self._plan(delay)

    def _hide(self, hops: list[Hop]) -> None:
        """Have SQS keep messages until their time: what else they wait for is out of reach."""
        for start in range(0, len(hops), BATCH):
            entries = [
                {
                    'Id': str(i),
                    'ReceiptHandle': hop.handle,
                    'VisibilityTimeout': int(min(seconds_left(hop.payload), LONGEST_HIDDEN)),
                }
                for i, hop in enumerate(hops[start : start + BATCH])
            ]
            # Else they come back after the visibility timeout, and it is tried again.
            self._call('ChangeMessageVisibilityBatch', entries, _ignore, _ignore)

    def _call(
        self, operation: str, entries: list[dict[str, Any]], *callbacks: Any, once: bool = False
    ) -> None:
        params = {'QueueUrl': self._url, 'Entries': entries}
        self._channel.async_sqs(self._queue).call(operation, params, *callbacks, once=once)


class Hops:
    """The messages of a channel that are to be sent again.

    Arguments:
        channel: the `Channel` that receives them.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._queues: dict[str, QueueHops] = {}

    @property
    def in_flight(self) -> int:
        """Messages of which it is not known yet whether SQS took their copy."""
        return sum(len(hops.sending) for hops in self._queues.values())

    def take(self, queue: str, url: str, message: dict[str, Any], payload: dict[str, Any]) -> bool:
        """Take care of a message if its time has not come; return whether that is so.

        Arguments:
            queue: the queue's name in kombu.
            url: its URL on SQS.
            message: as SQS gave it.
            payload: the same, decoded.
        """
        if queue.endswith('.fifo') or seconds_left(payload) <= HELD:
            return False
        if url not in self._queues:
            self._queues[url] = QueueHops(self._channel, queue, url)
        self._queues[url].add(Hop(queue, url, message, payload))
        return True

    def held(self) -> list[tuple[str, Hop]]:
        """Return receipt handle and message of all that are to be kept hidden."""
        return [(hop.handle, hop) for hops in self._queues.values() for hop in hops.held]

    def stop(self) -> None:
        """Send no more, and hand back what waits for it."""
        for hops in self._queues.values():
            hops.stop()


def _batches(hops: list[Hop]) -> list[list[tuple[Hop, dict[str, Any]]]]:
    """Return hops and their entries in parts that fit a request each."""
    batches: list[list[tuple[Hop, dict[str, Any]]]] = []
    size = 0
    for hop in hops:
        entry = hop.entry()
        # A little more than what SQS counts, never less.
        length = len(json.dumps(entry))
        size += length
        if not batches or len(batches[-1]) == BATCH or size > BATCH_BYTES:
            batches.append([])
            size = length
        batches[-1].append((hop, entry))
    return batches


def _ignore(_: object) -> None:
    pass
