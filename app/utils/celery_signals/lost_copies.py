"""A worker's copies for the platform queue that SQS does not take: said in the log, and no more.

The task that a worker sends is what counts: a retry, the next of a chain. Were a lost copy an
error there, Celery would have the task that sent it run again, or call it failed, while what it
sent is run as well. Other processes get a `be_queue.NotSentError`, and can act on it.
"""

from __future__ import annotations

import logging
import threading
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
    """Says once when a queue takes no copies, and once when it takes them again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Of each queue that took none the last time.
        self._lost: Counter[str] = Counter()

    def lost(self, error: NotSentError) -> None:
        """Every queue has the message but some that get copies."""
        with self._lock:
            first = [queue for queue in error.failed if queue not in self._lost]
            self._lost.update(error.failed.keys())
        for queue in first:
            logger.warning(
                'queue %s takes no copies, they are lost while tasks run: %s: check %s',
                queue,
                redact(' '.join(error.failed[queue].split())),
                CHECK_SQS,
            )

    def sent(self, queues: Iterable[str]) -> None:
        """These queues have a message."""
        if not self._lost:
            return
        with self._lock:
            again = {queue: self._lost.pop(queue) for queue in queues if queue in self._lost}
        for queue, count in again.items():
            logger.warning('queue %s takes copies again: lost=%d', queue, count)


@signals.worker_init.connect
@signals.worker_process_init.connect
def _worker_starts(**_: Any) -> None:
    publishing.copies = LostCopies()
