"""Deletes results older than ``result_expires``, without a scheduler process.

Each worker sends Celery's own ``celery.backend_cleanup`` once a day. Two workers that do so at once
do no harm: the second finds nothing to delete.
"""

from __future__ import annotations

import random
from typing import Any

from celery import Celery, bootsteps
from celery.utils.log import get_logger

__all__ = ['FIRST_WITHIN', 'INTERVAL', 'install']

logger = get_logger(__name__)

#: Seconds after the start within which the first deletion is sent, at a random time: workers that
#: start together do not send together.
FIRST_WITHIN = 3600.0
#: Seconds between two deletions.
INTERVAL = 24 * 3600.0


def install(app: Celery) -> None:
    """Have the app's worker delete expired results from time to time."""

    class ResultExpiry(bootsteps.StartStopStep):
        """Sends the deletion from a timer of the consumer's event loop."""

        requires = ('celery.worker.consumer.tasks:Tasks',)
        timer: Any = None

        def start(self, parent: Any) -> None:
            delay = random.uniform(0, FIRST_WITHIN)
            self.timer = parent.timer.call_after(delay, self._send, (parent,))

        def stop(self, parent: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()

        def _send(self, parent: Any) -> None:
            self.timer = parent.timer.call_after(INTERVAL, self._send, (parent,))
            try:
                parent.app.send_task('celery.backend_cleanup', ignore_result=True)
            except Exception as error:  # noqa: BLE001  (whatever the transport raises)
                logger.warning('expired results are kept for another day: %r', error)

    app.steps['consumer'].add(ResultExpiry)
