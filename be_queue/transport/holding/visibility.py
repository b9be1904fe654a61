"""Keeps the messages that a worker holds hidden from other workers, for as long as it holds them.

A held message runs, or waits for a child, for its time or for a retry. Its visibility timeout can
then be short: what a worker that died has held is delivered again soon.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from functools import partial
from typing import Any

from be_queue.outage import CHECK_SQS, Outage

__all__ = ['LONGEST', 'Visibility']

logger = logging.getLogger(__name__)

#: Messages of one ChangeMessageVisibilityBatch, a limit of SQS.
BATCH = 10
#: Seconds after its receipt beyond which SQS hides no message.
LONGEST = 12 * 3600
#: Extensions in one visibility timeout: two may fail.
TRIES = 3


class Visibility:
    """Extends the visibility of a channel's messages.

    While the event loop runs, from its timer; once it has ended and running tasks are waited for,
    from a thread.

    Arguments:
        channel: the `Channel` that holds the messages.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._interval = max(channel.visibility_timeout / TRIES, 0.2)
        self._outage = Outage('extending visibility on SQS', hint=CHECK_SQS)
        #: Requests without an answer yet.
        self.in_flight = 0
        self._timer: Any = None
        #: The event loop has ended.
        self.outlives_loop = False
        self._stopped = threading.Event()
        self._too_old: set[str] = set()

    def start(self) -> None:
        """Extend from the event loop's timer."""
        if self._timer is None:
            self._timer = self._channel.hub.call_repeatedly(self._interval, self._extend)

    def pause(self) -> None:
        """Start no more extensions."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def go_on_in_thread(self) -> None:
        """Extend from a thread: the event loop has had its last turn."""
        self.outlives_loop = True
        threading.Thread(target=self._extend_in_thread, name='visibility', daemon=True).start()

    def stop(self) -> None:
        """Extend no more."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _extend(self) -> None:
        asked_at = time.monotonic()

        def answered(queue: str, handles: list[str], answer: dict[str, Any]) -> None:
            self.in_flight -= 1
            self._outage.ended()
            self._tell(queue, handles, _refused(handles, answer))

        def failed(queue: str, handles: list[str], error: Exception) -> None:
            self.in_flight -= 1
            self._outage.failed(error, asked_at)  # the next turn of the timer is the next try
            self._tell(queue, handles, handles)

        for queue, url, handles in self._batches():
            self.in_flight += 1
            self._channel.async_sqs(queue).call(
                'ChangeMessageVisibilityBatch',
                {'QueueUrl': url, 'Entries': self._entries(handles)},
                partial(answered, queue, handles),
                partial(failed, queue, handles),
            )

    def _extend_in_thread(self) -> None:
        while not self._stopped.wait(self._interval):
            for queue, url, handles in self._batches():
                try:
                    answer = self._channel.blocking_sqs(queue).change_message_visibility_batch(
                        QueueUrl=url, Entries=self._entries(handles)
                    )
                except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
                    self._outage.failed(error)
                    self._tell(queue, handles, handles)
                else:
                    self._outage.ended()
                    self._tell(queue, handles, _refused(handles, answer))

    def _tell(self, queue: str, handles: list[str], refused: list[str]) -> None:
        # What was acked meanwhile is deleted, or about to be: nobody waits for its extension.
        held = {handle for handle, _ in self._channel.held()} if refused else set()
        failed = sum(handle in held for handle in refused)
        self._channel.observer.extended(queue, len(handles) - len(refused), failed)

    def _batches(self) -> list[tuple[str, str, list[str]]]:
        """Return queue, URL and receipt handles of the held messages, ten at a time."""
        held: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for handle, message in self._channel.held():
            info = message.delivery_info
            if self._can_be_extended(handle, info):
                held[info['received_from'], info['sqs_queue']].append(handle)
        # Visible again before it is deleted, a message would be run once more.
        for queue, url, handles in self._channel.pending_acks():
            held[queue, url] += handles
        return [
            (queue, url, handles[start : start + BATCH])
            for (queue, url), handles in held.items()
            for start in range(0, len(handles), BATCH)
        ]

    def _can_be_extended(self, handle: str, info: dict[str, Any]) -> bool:
        age = time.monotonic() - info['received_at']
        if age + self._channel.visibility_timeout <= LONGEST:
            return True
        if handle not in self._too_old:
            self._too_old.add(handle)
            logger.warning(
                'a message is held for almost twelve hours, the longest that SQS hides it: it '
                'will be delivered again while its task still runs: queue=%s message_id=%s',
                info['received_from'],
                info['sqs_message'].get('MessageId'),
            )
        return False

    def _entries(self, handles: list[str]) -> list[dict[str, Any]]:
        timeout = self._channel.visibility_timeout
        return [
            {'Id': str(i), 'ReceiptHandle': handle, 'VisibilityTimeout': timeout}
            for i, handle in enumerate(handles)
        ]


def _refused(handles: list[str], answer: dict[str, Any]) -> list[str]:
    """Return the handles of what SQS did not extend."""
    refused = {entry.get('Id') for entry in answer.get('Failed') or []}
    return [handle for i, handle in enumerate(handles) if str(i) in refused]
