"""Hands messages back to SQS: visible at once, so that another worker may run them.

    WAITING -> STARTED     a child is free: the longest waiting message first
       |
       +-> RETURNED        after `hand_back_seconds`: this worker receives nothing more until one
                           of its children is done

Each return uses up one of the receives after which SQS takes a message for a dead letter. So a
message that has used up half of them stays, and waits. Messages of a FIFO group return together:
one that stayed behind would run before those that are received again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

from be_queue.naming import FIFO_SUFFIX
from be_queue.transport.visibility import CHANGE, change_visibility

__all__ = ['DEFAULT_SECONDS', 'HandBack', 'receive_count']

logger = logging.getLogger(__name__)

#: Seconds that a message waits for a child. Twice the work that a worker holds by default: while
#: tasks take as long as they did, none waits for so long.
DEFAULT_SECONDS = 2.0


class HandBack:
    """Makes messages visible to other workers.

    A message for which that fails comes back after its visibility timeout.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        #: After so many seconds a waiting message is overdue.
        self.seconds = float(channel.transport_options.get('hand_back_seconds', DEFAULT_SECONDS))

    def __call__(self, messages: Iterable[Any]) -> set[str]:
        """Hand back those of the overdue messages that may go; return their delivery tags.

        They are no longer held.
        """
        # SQS may answer an extension after us, and hide the message again: the next call will do.
        if self._channel.requests.in_flight[CHANGE]:
            return set()
        going = self._that_may_go(messages)
        self.release(going)
        return {message.delivery_tag for message in going}

    def release(self, messages: Iterable[Any]) -> None:
        """Hand back messages that are held, all of them."""
        by_queue: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for message in messages:
            info = message.delivery_info
            by_queue[info['received_from'], info['sqs_queue']].append(message.delivery_tag)
            self._channel.qos.forget(message.delivery_tag)
        for (queue, url), handles in by_queue.items():
            self.release_handles(queue, url, handles)

    def release_handles(self, queue: str, url: str, handles: Iterable[str]) -> None:
        """Hand back messages of a queue that are not held."""
        visible = dict.fromkeys(handles, 0)
        change_visibility(self._channel, queue, url, visible, partial(self._released, queue))

    def restore(self, message: Any, pause: int) -> None:
        """Hand back a message that its consumer gives back, to be visible in ``pause`` seconds."""
        info = message.delivery_info
        queue = info['received_from']

        def restored(_handles: list[str], _failed: list[str], error: Exception | None) -> None:
            if error is not None:
                self._warn(queue, 1, error)

        seconds = {info['sqs_message']['ReceiptHandle']: pause}
        change_visibility(self._channel, queue, info['sqs_queue'], seconds, restored)

    def _released(
        self, queue: str, handles: list[str], failed: list[str], error: Exception | None
    ) -> None:
        if error is not None:
            self._warn(queue, len(handles), error)
            return
        released = len(handles) - len(failed)
        self._channel.observer.released(queue, released)
        logger.info('handed back: queue=%s messages=%d', queue, released)

    def _warn(self, queue: str, count: int, error: Exception) -> None:
        logger.warning(
            'messages were not handed back and come back after their visibility timeout '
            'of %d s: queue=%s messages=%d error=%s',
            self._channel.visibility_timeout,
            queue,
            count,
            error,
        )

    def _that_may_go(self, messages: Iterable[Any]) -> list[Any]:
        going = {m.delivery_tag: m for m in messages if self._has_receives_left(m.delivery_info)}
        held = self._channel.held()
        staying = {_group(message.delivery_info) for tag, message in held if tag not in going}
        staying.discard(None)
        return [m for m in going.values() if _group(m.delivery_info) not in staying]

    def _has_receives_left(self, info: dict[str, Any]) -> bool:
        most: int = self._channel.redrive.max_receives(info['received_from'])
        return 2 * receive_count(info) <= most


def receive_count(info: dict[str, Any]) -> int:
    """Return how often a message was received, by its delivery info."""
    attributes = info['sqs_message'].get('Attributes') or {}
    return int(attributes.get('ApproximateReceiveCount', 1))


def _group(info: dict[str, Any]) -> tuple[str, str] | None:
    """Return the group within which a message's order is kept; None when it has no order."""
    if not info['sqs_queue'].endswith(FIFO_SUFFIX):
        return None
    attributes = info['sqs_message'].get('Attributes') or {}
    return info['sqs_queue'], attributes.get('MessageGroupId', '')
