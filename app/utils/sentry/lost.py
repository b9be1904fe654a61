"""Reports what only the consuming process knows: its pool process cannot tell any more."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from billiard.einfo import ExceptionWithTraceback
from celery import Celery, Task, signals
from celery.app.task import Context
from celery.utils.imports import symbol_by_name
from sentry_sdk.utils import capture_internal_exceptions

from app.utils.sentry.failures import report
from be_queue.queues import MAX_RECEIVES

__all__ = ['report_of_consumer']


class _Watched:
    """A request whose failure is being dealt with: one at a time, by the event loop."""

    request: Any = None
    error: BaseException | None = None


def report_of_consumer(app: Celery) -> None:
    """Report the tasks whose pool process was killed, and those that nobody will receive again."""
    for task in app.tasks.values():
        task.Request = _watching(symbol_by_name(task.Request))
    signals.task_failure.connect(_failed)


def _watching(base: type[Any]) -> type[Any]:
    class Request(base):
        """Celery's, or the task's own."""

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            error = exc_info.exception
            if isinstance(error, ExceptionWithTraceback):
                error = error.exc
            _Watched.request, _Watched.error = self, error
            try:
                return super().on_failure(exc_info, *args, **kwargs)
            finally:
                _Watched.request = _Watched.error = None

        def reject(self, requeue: bool = False) -> None:
            super().reject(requeue=requeue)
            error = _Watched.error
            # Without requeue, Celery says itself that the task has failed.
            if requeue and error is not None and _Watched.request is self and _is_last(self):
                _report(self, error)

    return Request


def _failed(task_id: str, exception: BaseException, **_: Any) -> None:
    # A task that ran into its hard time limit comes a second time, outside of `on_failure`.
    request = _Watched.request
    if request is not None and request.id == task_id:
        _report(request, exception)


def _report(request: Any, error: BaseException) -> None:
    with capture_internal_exceptions(), sentry_sdk.isolation_scope() as scope:
        scope.clear_breadcrumbs()  # of other tasks
        task: Task = request.task
        context = Context(request.request_dict)
        arguments = request.args, request.kwargs
        # The texts differ, by a job's number, and there is no traceback of the task to group by.
        group = [type(error).__name__, task.name]
        report(task, context, error.with_traceback(None), arguments, fingerprint=group)


def _is_last(request: Any) -> bool:
    """Return whether SQS makes the message a dead letter rather than deliver it again."""
    message = request.message.delivery_info.get('sqs_message') or {}
    receives = int((message.get('Attributes') or {}).get('ApproximateReceiveCount', 0))
    limits = request.app.conf.broker_transport_options.get('max_receives') or {}
    queue = request.delivery_info.get('routing_key')
    return bool(receives >= limits.get(queue, MAX_RECEIVES))
