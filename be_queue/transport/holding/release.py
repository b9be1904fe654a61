"""Hands messages back: SQS gives them to other workers at once."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

__all__ = ['BATCH', 'entries', 'release', 'tell_failed']

logger = logging.getLogger(__name__)

#: Messages of one ChangeMessageVisibilityBatch, a limit of SQS.
BATCH = 10


def release(channel: Any, messages: Iterable[tuple[str, str, str]]) -> None:
    """Make messages visible at once, and wait for it.

    What SQS cannot be told comes back after the visibility timeout.

    Arguments:
        channel: the `Channel` that holds them.
        messages: queue, its URL and receipt handle of each.
    """
    handles: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for queue, url, handle in messages:
        handles[queue, url].append(handle)
    for (queue, url), of_queue in handles.items():
        back = 0
        for start in range(0, len(of_queue), BATCH):
            part = of_queue[start : start + BATCH]
            try:
                answer = channel.blocking_sqs(queue).change_message_visibility_batch(
                    QueueUrl=url, Entries=entries(part)
                )
            except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
                tell_failed(channel, queue, len(of_queue) - back, error)
                break
            back += len(part) - len(answer.get('Failed') or [])
        channel.observer.released(queue, back)
        logger.info('handed back: queue=%s messages=%d', queue, back)


def entries(handles: Iterable[str]) -> list[dict[str, Any]]:
    """Return the entries of a ChangeMessageVisibilityBatch that makes messages visible at once."""
    return [
        {'Id': str(i), 'ReceiptHandle': handle, 'VisibilityTimeout': 0}
        for i, handle in enumerate(handles)
    ]


def tell_failed(channel: Any, queue: str, count: int, error: Exception) -> None:
    """Warn of messages that SQS could not be told to make visible."""
    logger.warning(
        'messages were not handed back and come back after their visibility timeout '
        'of %d s: queue=%s messages=%d error=%s',
        channel.visibility_timeout,
        queue,
        count,
        error,
    )
