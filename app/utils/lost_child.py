"""What the consuming process says about a task, and about one whose pool process was lost."""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.utils.log import get_logger

from app.linux import LOOK_FOR_OOM
from app.utils import logs
from be_queue import worker

__all__ = ['Request']

logger = get_logger(__name__)


class Request(worker.Request):
    """be_queue's; Celery only says that the process is gone, and not always of which task."""

    def on_timeout(self, *args: Any, **kwargs: Any) -> Any:
        with logs.about(self.task, self.request_dict):
            return super().on_timeout(*args, **kwargs)

    def revoked(self) -> Any:
        with logs.about(self.task, self.request_dict):
            return super().revoked()

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        with logs.about(self.task, self.request_dict):
            return self._failed(exc_info, *args, **kwargs)

    def _failed(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = super().on_failure(exc_info, *args, **kwargs)
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, TimeLimitExceeded):
            # The pool calls this and then `on_timeout`, and both mark the task as failed: its error
            # callbacks would run twice, and a chord would count it twice.
            context = self._context
            context.errbacks = context.chain = context.chord = None
        if isinstance(error, WorkerLostError):
            logger.warning(
                'the process of task %s[%s] is gone: %s, and then at CELERY_WORKER_CONCURRENCY and '
                'CELERY_WORKER_MAX_MEMORY_PER_CHILD; %s',
                self.name,
                self.id,
                LOOK_FOR_OOM,
                self._what_becomes_of_it(),
            )
        return outcome

    def _what_becomes_of_it(self) -> str:
        if self.task.acks_late and self.task.reject_on_worker_lost:
            return 'the task runs again, until its message is a dead letter'
        return 'the task does not run again'
