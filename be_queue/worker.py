"""A Celery worker on SQS: what is not acknowledged comes back, and nothing that a child runs.

Told to stop, Celery drops every task that no child has reported to have started. One that was
written to a child a moment ago runs all the same: its message would go back to SQS, and the task
run twice.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery import Task, signals
from celery.exceptions import Reject
from celery.worker import consumer, request

from be_queue.transport.holding.stopping import turn_until

__all__ = ['Consumer']

#: Seconds within which a child that has been given a task says so.
PATIENCE = 2.0


class Request(request.Request):
    """Has SQS redeliver a task whose failure is not acknowledged, see ``acks_on_failure``.

    Celery rejects such a message as it does for a task that raises `Reject`, for which a dead
    letter is right. See https://github.com/celery/celery/pull/4970.
    """

    _has_failed = False

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        self._has_failed = not isinstance(error, Reject)
        return super().on_failure(exc_info, *args, **kwargs)

    def reject(self, requeue: bool = False) -> None:
        super().reject(requeue=requeue or self._has_failed)


@signals.worker_process_init.connect
def _allow_multiprocessing(**_: Any) -> None:
    """Let tasks start processes of their own: https://github.com/celery/celery/issues/1709."""
    multiprocessing.current_process().daemon = False


class Consumer(consumer.Consumer):
    """For Celery's ``worker_consumer``, as ``be_queue.worker:Consumer``."""

    def update_strategies(self) -> None:
        for task in self.app.tasks.values():
            if task.Request == Task.Request:
                task.Request = f'{__name__}:Request'
        super().update_strategies()

    def on_close(self) -> None:
        receiving = getattr(self.task_consumer and self.task_consumer.channel, 'receiving', None)
        pool = getattr(self.pool, '_pool', None)
        # Other transports, and pools without an event loop, are Celery's affair.
        if receiving is not None and hasattr(pool, 'outbound_buffer'):
            receiving.stop()
            self._await_starts(pool)
        super().on_close()

    def _await_starts(self, pool: Any) -> None:
        """Give the children no more tasks, and wait until those given are seen to start."""
        self.controller.semaphore.clear()
        pool.outbound_buffer.clear()
        turn_until(self.hub, lambda: not _starting(pool), PATIENCE)


def _starting(pool: Any) -> bool:
    return any(job._write_to is not None and not job._accepted for job in pool._cache.values())
