"""A Celery worker on SQS that returns tasks to SQS which it cannot start or does not acknowledge.

In Celery, tasks wait for a free child in the main process, for as long as that takes. Here they
wait in a queue of the consumer, from which they return to SQS, where another worker may take them.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import deque
from contextlib import suppress
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery import Task, signals
from celery.exceptions import Reject, TaskRevokedError
from celery.worker import request, state
from celery.worker.consumer import consumer

from be_queue.transport.shutdown import run_until

__all__ = ['Consumer', 'Request', 'raised']

#: Seconds within which a child that has been given a task says that it has started.
MAX_START_SECONDS = 2.0
#: Seconds between two looks at how long tasks have waited.
LOOK_INTERVAL = 0.25


def raised(exc_info: Any) -> BaseException:
    """Return the exception in the pool's report, without the wrapper of the main process."""
    error: BaseException = exc_info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def _is_of_known_task(record: logging.LogRecord) -> bool:
    return bool(record.msg != consumer.UNKNOWN_TASK_ERROR)


class Request(request.Request):
    """Has SQS redeliver a task whose failure is not acknowledged, see ``acks_on_failure``.

    Celery rejects such a message as it does for a task that raises `Reject`, for which a dead
    letter is right. See https://github.com/celery/celery/pull/4970.
    """

    _has_failed = False

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        self._has_failed = not isinstance(raised(exc_info), Reject)
        return super().on_failure(exc_info, *args, **kwargs)

    def reject(self, requeue: bool = False) -> None:
        super().reject(requeue=requeue or self._has_failed)


@signals.worker_process_init.connect
def _allow_multiprocessing(**_: Any) -> None:
    """Let tasks start processes of their own: https://github.com/celery/celery/issues/1709."""
    multiprocessing.current_process().daemon = False


class Consumer(consumer.Consumer):
    """For Celery's ``worker_consumer``, as ``be_queue.consumer:Consumer``."""

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

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        if hasattr(message.channel, 'dead_letters'):
            # The transport logs the dead letter. Celery says in 24 lines that it is discarded.
            consumer.logger.addFilter(_is_of_known_task)
        super().on_unknown_task(body, message, exc)

    def on_close(self) -> None:
        while self._waiting:
            state.task_ready(self._waiting.popleft()[1])
        # Other transports, and pools without an event loop, are left to Celery.
        if self._is_prefork and (receiving := self._receiving) is not None:
            receiving.stop()
            # Celery drops what no child has reported to have started. A child that was given a task
            # a moment ago runs it all the same, and SQS would deliver it once more.
            run_until(
                self.hub,
                lambda: len(state.active_requests) == len(state.reserved_requests),
                MAX_START_SECONDS,
            )
        super().on_close()

    @property
    def _receiving(self) -> Any:
        return getattr(self.task_consumer and self.task_consumer.channel, 'receiving', None)

    def _add_waiting(self, request: Any) -> None:
        self._waiting.append((time.monotonic(), request))

    def _on_tick(self) -> None:
        if self._waiting:
            self._start_waiting()
        self.pool._pool.on_poll_start()

    def _start_waiting(self) -> None:
        """Give the oldest tasks to the children that are free, or about to be replaced.

        Not by Celery's semaphore: that lets one more task into the pool for each child that is
        replaced, and from there nothing returns.
        """
        given = len(state.reserved_requests) - len(self._waiting)
        for _ in range(min(self.pool.num_processes - given, len(self._waiting))):
            with suppress(TaskRevokedError):
                self._waiting.popleft()[1].execute_using_pool(self.pool)

    def _hand_back_overdue(self) -> None:
        receiving = self._receiving
        if receiving is None or receiving.stopped:
            return
        # After a blocked loop, such as by a slow look-up of credentials, timers come before ticks.
        self._start_waiting()
        hand_back = receiving.channel.hand_back
        latest = time.monotonic() - hand_back.seconds
        overdue = [waiting for waiting in self._waiting if waiting[0] <= latest]
        returned = hand_back([request.message for _, request in overdue]) if overdue else ()
        for waiting in overdue:
            if waiting[1].message.delivery_tag in returned:
                self._waiting.remove(waiting)
                state.task_ready(waiting[1])
