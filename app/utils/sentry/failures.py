"""Reports final failures of tasks, and no attempt that is retried.

By Celery's signals rather than the SDK's CeleryIntegration, which reports in the task's call: that
misses results that cannot be encoded, and reports failures that cannot be stored, whose task runs
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sentry_sdk
from billiard.einfo import ExceptionWithTraceback
from celery import Celery, Task, signals
from celery.app.task import Context
from celery.exceptions import MaxRetriesExceededError
from celery.utils.imports import symbol_by_name
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.utils import capture_internal_exceptions, event_from_exception

from app.utils.sentry import attempts
from be_queue.queues import MAX_RECEIVES

__all__ = ['report_of_consumer', 'report_of_pool', 'tags']


def report_of_pool() -> None:
    """Report failures in this pool process."""
    signals.task_prerun.connect(_started)
    signals.task_failure.connect(_failed)
    signals.before_task_publish.connect(attempts.add_header)


def _started(task: Task, **_: Any) -> None:
    _describe(sentry_sdk.get_isolation_scope(), task, task.request)
    # Two tasks may raise the very same object: two failures.
    DedupeIntegration.reset_last_seen()


def _failed(sender: Task, exception: BaseException, args: Any, kwargs: Any, **_: Any) -> None:
    _report(sender, sender.request, exception, args, kwargs)


def report_of_consumer(app: Celery) -> None:
    """Report tasks whose process was killed, and those whose message becomes a dead letter."""
    for task in app.tasks.values():
        task.Request = _reporting(symbol_by_name(task.Request))
    signals.task_failure.connect(_failed_in_consumer)


# The request whose failure the event loop handles.
_failing: Any = None


def _reporting(base: type[Any]) -> type[Any]:
    class Request(base):
        """Celery's, or the task's own."""

        error: BaseException

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            global _failing
            error = exc_info.exception
            self.error = error.exc if isinstance(error, ExceptionWithTraceback) else error
            _failing = self
            try:
                return super().on_failure(exc_info, *args, **kwargs)
            finally:
                _failing = None

        def reject(self, requeue: bool = False) -> None:
            super().reject(requeue=requeue)
            # Without requeue, Celery sends the signal.
            if requeue and _failing is self and _is_last_receive(self):
                _report_of(self, self.error)

    return Request


def _failed_in_consumer(exception: BaseException, **_: Any) -> None:
    # Celery sends the signal twice for a hard time limit: the second time outside of `on_failure`.
    if _failing is not None:
        _report_of(_failing, exception)


def _report_of(request: Any, error: BaseException) -> None:
    task, context = request.task, Context(request.request_dict)
    with capture_internal_exceptions(), sentry_sdk.isolation_scope() as scope:
        _describe(scope, task, context)
        # The texts differ, by a job's number, and there is no traceback of the task to group by.
        scope.fingerprint = [type(error).__name__, task.name]
        _report(task, context, error.with_traceback(None), request.args, request.kwargs)


def _is_last_receive(request: Any) -> bool:
    """Return whether SQS makes the message a dead letter rather than deliver it again."""
    message = request.message.delivery_info.get('sqs_message') or {}
    receives = int((message.get('Attributes') or {}).get('ApproximateReceiveCount', 0))
    limits = request.app.conf.broker_transport_options.get('max_receives') or {}
    queue = request.delivery_info.get('routing_key')
    return bool(receives >= limits.get(queue, MAX_RECEIVES))


def _report(
    task: Task,
    request: Context,
    error: BaseException,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
) -> None:
    if isinstance(error, task.throws or ()):
        return
    options = sentry_sdk.get_client().options
    event, hint = event_from_exception(
        error, client_options=options, mechanism={'type': 'celery', 'handled': False}
    )
    event['breadcrumbs'] = {'values': attempts.breadcrumbs(request)}
    # SENTRY_SEND_ARGUMENTS: local variables hold the arguments as well.
    if options['include_local_variables']:
        event['extra'] = {'args': list(args or ()), 'kwargs': dict(kwargs or {})}
    elif isinstance(error, MaxRetriesExceededError):
        for value in event['exception']['values']:  # its text has them
            if value['type'] == MaxRetriesExceededError.__name__:
                value['value'] = str(value['value']).partition(' args:')[0]
    sentry_sdk.capture_event(event, hint=hint)


def _describe(scope: sentry_sdk.Scope, task: Task, request: Context) -> None:
    """Have the events of a scope tell of one task, and of none before."""
    scope.clear()
    scope.set_transaction_name(task.name)
    scope.set_tags(tags(task.name, request))


def tags(name: str, request: Context) -> dict[str, str]:
    """Return the tags of a task's events."""
    message = ((request.properties or {}).get('delivery_info') or {}).get('sqs_message') or {}
    values = {
        'task': name,
        'queue': (request.delivery_info or {}).get('routing_key'),
        'attempt': (request.retries or 0) + 1,
        'celery_task_id': request.id,
        'message_id': message.get('MessageId'),
        'trace_id': getattr(request, 'trace_id', None),
    }
    return {tag: str(value) for tag, value in values.items() if value is not None}
