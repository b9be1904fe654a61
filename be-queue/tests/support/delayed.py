"""For a worker that imports it, by the setting ``imports``: delays that end soon, and their traces.

``LONGEST_DELAY`` is the longest delay in seconds, in place of SQS's 900.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Task, shared_task, signals

from be_queue.transport import delays
from tests.support import counting

__all__ = ['RETRIED', 'RETRY_COUNTDOWN']

RETRIED = 'tests.retried'
#: In seconds.
RETRY_COUNTDOWN = 4

logger = logging.getLogger(__name__)

if 'LONGEST_DELAY' in os.environ:
    delays.MAX_DELAY_SECONDS = int(os.environ['LONGEST_DELAY'])


@signals.task_received.connect
def note_prefetch(sender: Any, **_: Any) -> None:
    """Log how many messages the worker may hold."""
    logger.warning('prefetch_count=%d', sender.qos.value)


@shared_task(name=RETRIED, bind=True, ignore_result=True, max_retries=2)
def retried(self: Task, number: int) -> None:
    """Run like `counting.count`, but at the third attempt only."""
    if self.request.retries < 2:
        raise self.retry(countdown=RETRY_COUNTDOWN)
    counting.count.run(number)
