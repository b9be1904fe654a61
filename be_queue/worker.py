"""A Celery worker on SQS: what it cannot start or does not acknowledge returns to SQS.

Celery lets tasks wait for a child in the main process, however long that is. Here they wait in a
queue of the consumer's own, from which they return to SQS: another worker may have a child free.

And Celery drops, when it stops, every task that no child has reported to have started. One that was
written to a child a moment ago runs all the same: its message would go back to SQS, and the task
run twice.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from contextlib import suppress
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery import Task, signals
from celery.exceptions import Reject, TaskRevokedError
from celery.worker import consumer, request, state

from be_queue.transport.event_loop import run_until

__all__ = ['Consumer']

#: Seconds within which a child that has been given a task says so.
PATIENCE = 2.0
#: Seconds between two looks at how long tasks have waited.
LOOK_INTERVAL = 0.25


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

    def __init__(self, on_task_request: Any, *args: Any, **kwargs: Any) -> None:
        #: Tasks that wait for a child, and since when, the oldest first.
        self._waiting: deque[tuple[float, Any]] = deque()
        self._is_prefork = bool(kwargs.get('hub') and kwargs['pool'].uses_semaphore)
        if self._is_prefork:
            on_task_request = self._add_waiting
        super().__init__(on_task_request, *args, **kwargs)

    def update_strategies(self) -> None:
        for task in self.app.tasks.values():
            if task.Request == Task.Request:
                task.Request = f'{__name__}:Request'
        super().update_strategies()

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        if self._is_prefork:
            # The pool has its turn after us, so that it sends what we give it at once.
            hub.on_tick.discard(self.pool._pool.on_poll_start)
            hub.on_tick.add(self._on_tick)
            hub.call_repeatedly(LOOK_INTERVAL, self._hand_back_overdue)

    def on_close(self) -> None:
        self._waiting.clear()
        receiving = self._receiving
        # Other transports, and pools without an event loop, are Celery's affair.
        if receiving is not None and self._is_prefork:
            receiving.stop()
            self._await_starts(self.pool._pool)
        super().on_close()

    @property
    def _receiving(self) -> Any:
        return getattr(self.task_consumer and self.task_consumer.channel, 'receiving', None)

    def _add_waiting(self, request: Any) -> None:
        self._waiting.append((time.monotonic(), request))

    def _on_tick(self) -> None:
        self._start_waiting()
        self.pool._pool.on_poll_start()

    def _start_waiting(self) -> None:
        """Give the oldest tasks to the children that are free, or about to replace another.

        Not by Celery's semaphore: that lets one more task into the pool for each child that is
        replaced, and from there nothing returns.
        """
        if not self._waiting:
            return
        pool = self.pool._pool
        free = self.pool.num_processes - len(pool._busy_workers) - len(pool.outbound_buffer)
        for _ in range(min(free, len(self._waiting))):
            with suppress(TaskRevokedError):
                self._waiting.popleft()[1].execute_using_pool(self.pool)

    def _hand_back_overdue(self) -> None:
        receiving = self._receiving
        if receiving is None or receiving.stopped:
            return
        hand_back = receiving.channel.hand_back
        since = time.monotonic() - hand_back.seconds
        overdue = [waits.message for began, waits in self._waiting if began <= since]
        returned = hand_back(overdue) if overdue else set()
        waiting, self._waiting = self._waiting, deque()
        for began, waits in waiting:
            if waits.message.delivery_tag in returned:
                state.task_ready(waits)
            else:
                self._waiting.append((began, waits))

    def _await_starts(self, pool: Any) -> None:
        """Give the children no more tasks, and wait until those given are seen to start."""
        pool.outbound_buffer.clear()
        run_until(self.hub, lambda: not _starting(pool), PATIENCE)


def _starting(pool: Any) -> bool:
    return any(job._write_to is not None and not job._accepted for job in pool._cache.values())
