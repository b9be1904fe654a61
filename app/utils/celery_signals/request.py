"""Log lines of the consuming process about a task, also when its pool process was lost."""

from __future__ import annotations

from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.utils.log import get_logger

from app.linux import LOOK_FOR_OOM
from app.utils import logs
from app.utils.celery_signals.pool import over_time_limit
from be_queue import worker

__all__ = ['Request']

logger = get_logger(__name__)


class Request(worker.Request):
    """be_queue's; Celery only logs that the process is gone, and not always of which task."""

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft:
            over_time_limit.add(self.worker_pid)
        with logs.about(self.task, self.request_dict):
            return super().on_timeout(soft, timeout)

    def revoked(self) -> Any:
        with logs.about(self.task, self.request_dict):
            return super().revoked()

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        with logs.about(self.task, self.request_dict):
            outcome = super().on_failure(exc_info, *args, **kwargs)
            error = worker.raised(exc_info)
            if isinstance(error, TimeLimitExceeded):
                # The pool calls this and then `on_timeout`, and both mark the task as failed: its
                # error callbacks would run twice, and a chord would count it twice.
                context = self._context
                context.errbacks = context.chain = context.chord = None
            elif isinstance(error, WorkerLostError):
                runs_again = self.task.acks_late and self.task.reject_on_worker_lost
                logger.warning(
                    'the process of task %s[%s] is gone: %s, and then at CELERY_WORKER_CONCURRENCY '
                    'and CELERY_WORKER_MAX_MEMORY_PER_CHILD; the task %s',
                    self.name,
                    self.id,
                    LOOK_FOR_OOM,
                    'runs again, until its message is a dead letter'
                    if runs_again
                    else 'does not run again',
                )
            return outcome
