"""Copies for the platform queue that SQS refuses are logged in a worker, and are no error.

The task that a worker sends is what counts: a retry, the next of a chain. If a lost copy were an
error there, Celery would run the task that sent it again, or call it failed, while what it sent is
run as well. Other processes get a `be_queue.NotSentError`, and can act on it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

from celery import signals

from be_queue import NotSentError
from be_queue.outage import CHECK_SQS
from be_queue.redact import redact
from be_queue.transport import publishing

__all__ = ['LostCopies']

logger = logging.getLogger(__name__)


class LostCopies:
    """Logs once when a queue takes no copies, and once when it takes them again."""

    def __init__(self) -> None:
        self._lost: Counter[str] = Counter()  # by queue, since it last took one

    def lost(self, error: NotSentError) -> None:
        for queue, reason in error.failed.items():
            if not self._lost[queue]:
                text = redact(' '.join(reason.split()))
                lost = 'queue %s takes no copies, they are lost while tasks run: %s: check %s'
                logger.warning(lost, queue, text, CHECK_SQS)
            self._lost[queue] += 1

    def sent(self, queues: Iterable[str]) -> None:
        for queue in queues:
            if lost := self._lost.pop(queue, 0):
                logger.warning('queue %s takes copies again: lost=%d', queue, lost)


@signals.worker_init.connect
@signals.worker_process_init.connect
def _worker_starts(**_: Any) -> None:
    publishing.copies = LostCopies()
