"""Hands back what waits for a child while another worker may have one free.

    WAITING -> STARTED     a child is free: the longest waiting message first
       |
       +-> RETURNED        after `hand_back_seconds`: visible on SQS at once, and this worker
                           receives nothing more until one of its children is done

Each return uses up one of the receives after which SQS takes a message for a dead letter. So one
that has used up half of them stays, and waits. Messages of a FIFO group return together: one that
stayed behind would run before those that are received again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from be_queue.naming import FIFO_SUFFIX
from be_queue.transport.holding.release import BATCH, entries, tell_failed

__all__ = ['SECONDS', 'HandBack', 'receives_of']

logger = logging.getLogger(__name__)

#: Seconds that a message waits for a child. Twice the work that a worker holds by default: while
#: tasks take as long as they did, none waits for so long.
SECONDS = 2.0


class HandBack:
    """Makes messages visible to other workers without waiting for SQS.

    Arguments:
        channel: the `Channel` that holds them.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.seconds = float(channel.transport_options.get('hand_back_seconds', SECONDS))
        #: Requests without an answer yet.
        self.in_flight = 0

    def __call__(self, messages: Iterable[Any]) -> set[str]:
        """Hand back what may go of the messages; return the delivery tags of those that do.

        They are no longer held. One that SQS cannot be told of returns after its visibility
        timeout.
        """
        # SQS may answer an extension after us, and hide the message again: the next call will do.
        if self._channel.visibility.in_flight:
            return set()
        returned: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for message in self._that_may_go(messages):
            info = message.delivery_info
            returned[info['received_from'], info['sqs_queue']].append(message.delivery_tag)
            self._channel.qos.forget(message.delivery_tag)
        for (queue, url), tags in returned.items():
            for start in range(0, len(tags), BATCH):
                self._ask(queue, url, tags[start : start + BATCH])
        return {tag for tags in returned.values() for tag in tags}

    def _that_may_go(self, messages: Iterable[Any]) -> list[Any]:
        redrive = self._channel.redrive
        going = {
            message.delivery_tag: message
            for message in messages
            if 2 * receives_of(message.delivery_info)
            <= redrive.max_receives(message.delivery_info['received_from'])
        }
        staying = {
            _group(message.delivery_info)
            for tag, message in self._channel.held()
            if tag not in going
        } - {None}
        return [m for m in going.values() if _group(m.delivery_info) not in staying]

    def _ask(self, queue: str, url: str, tags: list[str]) -> None:
        def answered(answer: dict[str, Any]) -> None:
            self.in_flight -= 1
            back = len(tags) - len(answer.get('Failed') or [])
            self._channel.observer.released(queue, back)
            logger.info('handed back: queue=%s messages=%d', queue, back)

        def failed(error: Exception) -> None:
            self.in_flight -= 1
            tell_failed(self._channel, queue, len(tags), error)

        self.in_flight += 1
        self._channel.async_sqs(queue).call(
            'ChangeMessageVisibilityBatch',
            {'QueueUrl': url, 'Entries': entries(tags)},
            answered,
            failed,
        )


def receives_of(info: dict[str, Any]) -> int:
    """Return how often a message was received, by its delivery info."""
    attributes = info['sqs_message'].get('Attributes') or {}
    return int(attributes.get('ApproximateReceiveCount', 1))


def _group(info: dict[str, Any]) -> tuple[str, str] | None:
    """Return the group within which a message's order is kept; None when it has no order."""
    if not info['sqs_queue'].endswith(FIFO_SUFFIX):
        return None
    attributes = info['sqs_message'].get('Attributes') or {}
    return info['sqs_queue'], attributes.get('MessageGroupId', '')
