"""Deletes results older than ``result_expires``, without a scheduler process.

Each worker sends Celery's own ``celery.backend_cleanup`` once a day. Two workers that do so at once
do no harm: the second finds nothing to delete.
"""

from __future__ import annotations

import random
from typing import Any

from celery import signals
from celery.utils.log import get_logger

__all__ = ['FIRST_WITHIN', 'INTERVAL', 'install']

logger = get_logger(__name__)

#: Seconds after the start within which the first deletion is sent, at a random time: workers that
#: start together do not send together.
FIRST_WITHIN = 3600.0
#: Seconds between two deletions.
INTERVAL = 24 * 3600.0


def install() -> None:
    """Have the worker delete expired results from time to time."""
    signals.worker_ready.connect(_schedule)


def _schedule(sender: Any, **_: Any) -> None:
    # Sent once in a worker's life. The timer goes on when the connection to the broker is lost.
    sender.timer.call_after(random.uniform(0, FIRST_WITHIN), _send, (sender,))


def _send(consumer: Any) -> None:
    consumer.timer.call_after(INTERVAL, _send, (consumer,))
    try:
        consumer.app.send_task('celery.backend_cleanup', ignore_result=True)
    except Exception as error:  # noqa: BLE001  (whatever the transport raises)
        logger.warning('expired results are kept for another day: %r', error)
