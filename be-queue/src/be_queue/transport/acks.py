"""Deletes the messages of finished tasks, in batches, without blocking the event loop."""

from __future__ import annotations

import logging
import threading
import time
from itertools import islice
from typing import Any

from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.requests import BATCH_SIZE

__all__ = ['Acks']

logger = logging.getLogger(__name__)

#: Seconds that an ack waits for others to fill its batch.
BATCH_SECONDS = 0.03
#: Seconds until a message that SQS failed to delete is retried.
RETRY_SECONDS = 1.0


class Acks:
    """The receipt handles of one queue that are to be deleted, until SQS confirms each.

    A delete that fails is retried until it succeeds: by a timer while the event loop runs, and once
    that has ended with the next ack, or when the channel closes. A message that SQS refuses to
    delete, since it was visible again meanwhile, is dropped here: its task runs once more.
    """

    def __init__(self, channel: Any, queue: str, url: str) -> None:
        self._channel = channel
        self.queue = queue
        self._url = url
        #: When each was acknowledged, by the monotonic clock.
        self._acked_at: dict[str, float] = {}
        #: Handles of requests without an answer yet.
        self._sent: set[str] = set()
        self._is_planned = False
        #: Once the event loop has ended, any thread may acknowledge.
        self._lock = threading.RLock()
        self._outage = Outage(f'deleting from SQS queue {queue}', hint=CHECK_SQS)

    @property
    def pending(self) -> list[str]:
        """The receipt handles that SQS has not confirmed."""
        return list(self._acked_at)  # at once: a thread reads it while others acknowledge

    @property
    def is_failing(self) -> bool:
        """Whether the last delete failed."""
        return self._outage.lasts

    def add(self, handle: str) -> None:
        """Delete a message soon; at once when no event loop runs."""
        self._acked_at[handle] = time.monotonic()
        if not self._channel.requests.in_loop:
            self.flush()
        elif self._outage.lasts:
            pass  # until the next retry
        elif len(self._acked_at) - len(self._sent) >= BATCH_SIZE:
            self._send()
        else:
            self._plan(BATCH_SECONDS)

    def flush(self) -> None:
        """Delete at once and wait for the answers: no event loop runs. A failed delete is kept."""
        with self._lock:
            self._sent.clear()
            self._send_all()

    def give_up(self) -> None:
        """Retry no more, and warn of what is left."""
        if self._acked_at:
            logger.warning(
                'finished tasks were not deleted and will run again: queue=%s messages=%d',
                self.queue,
                len(self._acked_at),
            )
            self._acked_at.clear()

    def _plan(self, delay: float) -> None:
        if self._channel.requests.in_loop and not self._is_planned:
            self._is_planned = True
            self._channel.hub.call_later(delay, self._send_all)

    def _send_all(self) -> None:
        self._is_planned = False
        for _ in range(len(self._sent), len(self._acked_at), BATCH_SIZE):
            self._send()
            if self._outage.lasts:
                return  # one shows whether the outage is over

    def _send(self) -> None:
        waiting = (handle for handle in self.pending if handle not in self._sent)
        part = list(islice(waiting, BATCH_SIZE))
        self._sent.update(part)
        asked_at = time.monotonic()

        def answered(answer: dict[str, Any]) -> None:
            self._sent.difference_update(part)
            self._outage.ended()
            self._deleted(part, answer)

        def failed(error: Exception) -> None:
            self._sent.difference_update(part)
            self._plan(self._outage.failed(error, asked_at))

        entries = [{'Id': str(i), 'ReceiptHandle': handle} for i, handle in enumerate(part)]
        params = {'QueueUrl': self._url, 'Entries': entries}
        self._channel.requests.call(self.queue, 'DeleteMessageBatch', params, answered, failed)

    def _deleted(self, part: list[str], answer: dict[str, Any]) -> None:
        deleted = {entry['Id'] for entry in answer.get('Successful') or []}
        refused = {entry['Id'] for entry in answer.get('Failed') or [] if entry.get('SenderFault')}
        now = time.monotonic()
        delays, is_left = [], False
        for i, handle in enumerate(part):
            if str(i) in deleted:
                delays.append(now - self._acked_at.pop(handle, now))
            elif str(i) in refused:
                self._acked_at.pop(handle, None)
            else:
                self._acked_at[handle] = self._acked_at.pop(handle)  # after the others
                is_left = True
        self._channel.observer.deleted(self.queue, len(part), delays)
        if is_left:
            self._plan(RETRY_SECONDS)
        elif len(self._acked_at) > len(self._sent):
            self._plan(BATCH_SECONDS)
