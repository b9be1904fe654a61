"""Keeps the messages that a worker holds hidden from other workers, for as long as it holds them.

A held message runs, or waits for a child, for its time or for a retry. Its visibility timeout can
then be short: messages of a worker that died are delivered again soon.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.requests import BATCH_SIZE

__all__ = ['CHANGE', 'MAX_SECONDS', 'Visibility', 'change_visibility']

logger = logging.getLogger(__name__)

CHANGE = 'ChangeMessageVisibilityBatch'
#: Seconds after its receipt beyond which SQS hides no message.
MAX_SECONDS = 12 * 3600
#: Extensions in one visibility timeout: two may fail.
TRIES = 3

#: Gets the receipt handles of a request, those that failed, and the error if all did.
OnChanged = Callable[[list[str], list[str], 'Exception | None'], object]


def change_visibility(
    channel: Any, queue: str, url: str, seconds: Mapping[str, int], on_changed: OnChanged
) -> None:
    """Hide messages for so many seconds from now, by receipt handle; 0 makes them visible at once.

    ``on_changed`` is called for each request, that is for ten messages at a time.
    """
    handles = list(seconds)
    for start in range(0, len(handles), BATCH_SIZE):
        part = handles[start : start + BATCH_SIZE]
        entries = [
            {'Id': str(i), 'ReceiptHandle': handle, 'VisibilityTimeout': seconds[handle]}
            for i, handle in enumerate(part)
        ]

        def answered(answer: dict[str, Any], part: list[str] = part) -> None:
            failed = {entry.get('Id') for entry in answer.get('Failed') or []}
            on_changed(part, [h for i, h in enumerate(part) if str(i) in failed], None)

        def failed(error: Exception, part: list[str] = part) -> None:
            on_changed(part, part, error)

        params = {'QueueUrl': url, 'Entries': entries}
        channel.requests.call(queue, CHANGE, params, answered, failed)


class Visibility:
    """Extends the visibility timeout of a channel's messages.

    While the event loop runs, by its timer; once it has ended and running tasks are waited for, by
    a thread.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._interval = max(channel.visibility_timeout / TRIES, 0.2)
        self._outage = Outage('extending visibility on SQS', hint=CHECK_SQS)
        self._timer: Any = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Extend by the event loop's timer."""
        if self._timer is None:
            self._timer = self._channel.hub.call_repeatedly(self._interval, self.extend)

    def pause(self) -> None:
        """Start no more extensions until `start`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def continue_in_thread(self) -> None:
        """Extend by a thread: the event loop has ended."""
        self.pause()
        threading.Thread(target=self._extend_in_thread, name='visibility', daemon=True).start()

    def stop(self) -> None:
        """Extend no more."""
        self._stopped.set()
        self.pause()

    def extend(self) -> None:
        """Extend the visibility timeout of everything that is held, or not deleted yet."""
        held: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for handle, message in self._channel.held():
            info = message.delivery_info
            held[info['received_from'], info['sqs_queue']].append(handle)
        # Visible again before it is deleted, a message would run once more.
        for queue, url, handles in self._channel.pending_acks():
            held[queue, url] += handles
        extended = partial(self._extended, time.monotonic())
        for (queue, url), handles in held.items():
            seconds = dict.fromkeys(handles, self._channel.visibility_timeout)
            change_visibility(self._channel, queue, url, seconds, partial(extended, queue))

    def _extend_in_thread(self) -> None:
        while not self._stopped.wait(self._interval):
            self.extend()

    def _extended(
        self,
        asked_at: float,
        queue: str,
        handles: list[str],
        failed: list[str],
        error: Exception | None,
    ) -> None:
        if error is None:
            self._outage.ended()
        else:
            self._outage.failed(error, asked_at)  # the next turn of the timer is the retry
        # A message that was acked meanwhile is deleted, or about to be: it needs no extension.
        held = {handle for handle, _ in self._channel.held()} if failed else set()
        still_held = sum(handle in held for handle in failed)
        if still_held and error is None:
            logger.warning(
                'SQS does not keep messages hidden that are held here, after twelve hours or since '
                'they were visible before: their tasks will run again: queue=%s messages=%d',
                queue,
                still_held,
            )
        self._channel.observer.extended(queue, len(handles) - len(failed), still_held)
