"""A task in the consuming process: its log lines, and its end when no pool process reports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.app.task import Context
from celery.exceptions import Reject
from celery.utils.dispatch import Signal
from celery.utils.log import get_logger

from be_queue import consumer
from be_queue.queues import MAX_RECEIVES
from be_queue.worker import logs
from be_queue.worker.linux import LOOK_FOR_OOM
from be_queue.worker.metrics.metrics import LOST

__all__ = ['Request', 'dead_letter']

logger = get_logger(__name__)

#: Sent as ``task_failure`` is, for a message that goes back to its queue after its last receive:
#: SQS moves it to the dead-letter queue, and Celery reports nothing.
dead_letter = Signal(name='dead_letter', providing_args={'exception', 'args', 'kwargs'})


class Request(consumer.Request):
    """be_queue's; log lines and receivers of ``task_failure`` see which task it is about."""

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft:
            LOST.labels('time limit').inc()
        with self._current():
            return super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = consumer.raised(exc_info)
        if isinstance(error, TimeLimitExceeded):
            # The pool calls `on_timeout` next. Celery marks the task as failed in both: its error
            # callbacks would run twice, and a chord would count it twice.
            return None
        with self._current():
            outcome = super().on_failure(exc_info, *args, **kwargs)
            goes_back = isinstance(error, Reject) and error.requeue
            # SIGTERM has a process report SystemExit.
            if isinstance(error, (WorkerLostError, SystemExit)):
                goes_back = self.task.acks_late and self.task.reject_on_worker_lost
                self._lost(error, goes_back)
            if goes_back and self._is_last_receive():
                dead_letter.send(
                    sender=self.task, exception=error, args=self.args, kwargs=self.kwargs
                )
            return outcome

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Have ``task.request`` tell of this request, and log lines name the task."""
        context = Context(self.request_dict, time_start=self.time_start)
        self.task.request_stack.push(context)
        try:
            with logs.about(self.task, self.request_dict):
                yield
        finally:
            self.task.request_stack.pop()

    def _lost(self, error: BaseException, goes_back: bool) -> None:
        LOST.labels('exit' if 'exitcode' in str(error) else 'signal').inc()
        logger.warning(
            'the process of task %s[%s] is gone: %s, and then at CELERY_WORKER_CONCURRENCY and '
            'CELERY_WORKER_MAX_MEMORY_PER_CHILD; the task %s',
            self.name,
            self.id,
            LOOK_FOR_OOM,
            'runs again, until its message is a dead letter' if goes_back else 'does not run again',
        )

    def _is_last_receive(self) -> bool:
        message = self.message.delivery_info.get('sqs_message') or {}
        receives = int((message.get('Attributes') or {}).get('ApproximateReceiveCount', 0))
        limits = self.app.conf.broker_transport_options.get('max_receives') or {}
        queue = self.delivery_info.get('routing_key')
        return bool(receives >= limits.get(queue, MAX_RECEIVES))
