"""One small question to each server that the worker cannot do without."""

from __future__ import annotations

from typing import Any

from celery import Celery

from be_queue.outage import CHECK_RESULT_DB, Outage

__all__ = ['BrokerProbe', 'ResultsProbe']

# No task has this id: asking for its result makes the backend read its table.
_NO_TASK = 'readyz'


class BrokerProbe:
    """Asks the broker for the size of one of the worker's queues; raises what goes wrong."""

    def __init__(self, celery_app: Celery) -> None:
        self._app = celery_app
        self._channel: Any = None

    def __call__(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            channel = self._app.connection_for_read().channel()
        channel.queue_declare(queue=self._app.conf.task_default_queue, passive=True)
        self._channel = channel  # kept for the next time only when it works


class ResultsProbe:
    """Asks the result backend for a task that does not exist; raises and logs what goes wrong."""

    def __init__(self, celery_app: Celery) -> None:
        self._app = celery_app
        self._outage = Outage('the result database', hint=CHECK_RESULT_DB)

    def __call__(self) -> None:
        try:
            backend = self._app.backend
            backend.always_retry = False  # the next probe is the retry
            backend.get_task_meta(_NO_TASK, cache=False)
        except Exception as error:
            self._outage.failed(error)
            raise
        self._outage.ended()
