"""Deletes the messages of finished tasks, in batches, without making the event loop wait."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from be_queue.outage import CHECK_SQS, Outage

__all__ = ['BATCH', 'DELAY', 'Acks']

logger = logging.getLogger(__name__)

#: Messages of one DeleteMessageBatch, a limit of SQS.
BATCH = 10
#: Seconds that an ack waits for others to go with it.
DELAY = 0.03
#: Seconds until what SQS could not delete is tried again.
RETRY_DELAY = 1.0


class Acks:
    """The receipt handles of one queue that are to be deleted, until SQS confirms each.

    A delete that fails is tried again, however often: by the event loop, and once that has ended
    with the next ack or when the channel closes. One that SQS refuses for good, since the message
    was visible again meanwhile, is counted in ``expired``: its task runs once more.

    Arguments:
        channel: the `Channel` that received the messages.
        queue: the queue's name in kombu.
        url: its URL on SQS.
    """

    def __init__(self, channel: Any, queue: str, url: str) -> None:
        self.expired = 0
        self._channel = channel
        self._queue = queue
        self._url = url
        self._waiting: list[str] = []
        #: When each was acknowledged, by the monotonic clock.
        self._acked_at: dict[str, float] = {}
        #: Asked for and not yet answered.
        self._sent: list[str] = []
        self._planned = False
        #: Once the event loop has ended, whichever thread acknowledges deletes.
        self._lock = threading.Lock()
        self._outage = Outage(f'deleting from SQS queue {queue}', hint=CHECK_SQS)

    @property
    def pending(self) -> tuple[str, str, list[str]]:
        """Queue, URL and the receipt handles that SQS has not confirmed."""
        # In this order: a thread reads it while a flush moves them from the one to the other.
        return self._queue, self._url, self._waiting + self._sent

    @property
    def failing(self) -> bool:
        """Whether the last delete failed."""
        return self._outage.lasts

    def add(self, handle: str) -> None:
        """Delete a message soon; at once when the event loop has ended."""
        with self._lock:
            self._waiting.append(handle)
            self._acked_at[handle] = time.monotonic()
        if not self._channel._loop_turns:
            self.flush()
            return
        if self._outage.lasts:
            return  # until the next try
        if len(self._waiting) >= BATCH:
            self._send()
        else:
            self._plan(DELAY)

    def flush(self) -> None:
        """Delete at once and wait for it: the event loop has ended, or the channel closes.

        What fails is left for the next time.
        """
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        # They stay pending meanwhile: that may take longer than they are hidden.
        handles = self._sent = [*self._sent, *self._waiting]
        self._waiting = []
        for start in range(0, len(handles), BATCH):
            part = handles[start : start + BATCH]
            try:
                answer = self._channel.blocking_sqs(self._queue).delete_message_batch(
                    QueueUrl=self._url, Entries=_entries(part)
                )
            except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
                self._outage.failed(error)
                return
            self._outage.ended()
            settled = {*part}.difference(self._failed_by_sqs(part, answer))
            self._sent = [handle for handle in self._sent if handle not in settled]

    def give_up(self) -> None:
        """Delete no more, and say what is left."""
        left = len(self._waiting) + len(self._sent)
        self._waiting, self._sent = [], []
        if left:
            logger.warning(
                'finished tasks were not deleted and will run again: queue=%s messages=%d',
                self._queue,
                left,
            )

    def _plan(self, delay: float) -> None:
        if not self._planned:
            self._planned = True
            self._channel.hub.call_later(delay, self._send_all)

    def _send_all(self) -> None:
        self._planned = False
        while self._waiting:
            self._send()
            if self._outage.lasts:
                return  # one is enough to see whether it is over

    def _send(self) -> None:
        part, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._sent += part
        asked_at = time.monotonic()

        def answered(answer: dict[str, Any]) -> None:
            self._outage.ended()
            self._try_again(part, self._failed_by_sqs(part, answer), RETRY_DELAY)
            if self._waiting:
                self._plan(DELAY)

        def failed(error: Exception) -> None:
            self._try_again(part, part, self._outage.failed(error, asked_at))

        self._channel.async_sqs(self._queue).call(
            'DeleteMessageBatch',
            {'QueueUrl': self._url, 'Entries': _entries(part)},
            answered,
            failed,
        )

    def _try_again(self, part: list[str], failed: list[str], delay: float) -> None:
        self._sent = [handle for handle in self._sent if handle not in part]
        if failed:
            self._waiting += failed
            self._plan(delay)

    def _failed_by_sqs(self, part: list[str], answer: dict[str, Any]) -> list[str]:
        """Return the handles that SQS could not delete, but may another time."""
        deleted = {entry['Id'] for entry in answer.get('Successful') or []}
        refused = answer.get('Failed') or []
        expired = {entry['Id'] for entry in refused if entry.get('SenderFault')}
        self.expired += len(expired)
        failed = [handle for i, handle in enumerate(part) if str(i) not in deleted | expired]
        self._tell(part, deleted, set(failed))
        return failed

    def _tell(self, part: list[str], deleted: set[str], failed: set[str]) -> None:
        now = time.monotonic()
        delays = []
        for i, handle in enumerate(part):
            if handle not in failed:
                acked_at = self._acked_at.pop(handle, now)
                if str(i) in deleted:
                    delays.append(now - acked_at)
        self._channel.observer.deleted(self._queue, len(part), delays)


def _entries(handles: list[str]) -> list[dict[str, str]]:
    return [{'Id': str(i), 'ReceiptHandle': handle} for i, handle in enumerate(handles)]
