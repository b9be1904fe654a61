"""Reports final failures of tasks, and no attempt that is retried.

By Celery's signals rather than the SDK's CeleryIntegration, which reports in the task's call: that
misses results that cannot be encoded, and reports failures that cannot be stored, whose task runs
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sentry_sdk
from celery import Task, signals
from celery.app.task import Context
from celery.exceptions import MaxRetriesExceededError
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.utils import event_from_exception

from be_queue.worker.celery_signals.earlier_attempts import HEADER
from be_queue.worker.celery_signals.request import dead_letter
from be_queue.worker.role import Role

__all__ = ['connect']


def connect(role: Role) -> None:
    """Report the failures that a process with this role sees."""
    if role is Role.CONSUMER:
        signals.task_failure.connect(_failed_in_consumer)
        dead_letter.connect(_failed_in_consumer)
    elif role is Role.POOL:
        signals.task_failure.disconnect(_failed_in_consumer)  # inherited
        signals.task_prerun.connect(_started)
        signals.task_failure.connect(_failed)


def _started(task: Task, **_: Any) -> None:
    _describe(sentry_sdk.get_isolation_scope(), task)
    # Two tasks may raise the very same object: two failures.
    DedupeIntegration.reset_last_seen()


def _failed_in_consumer(sender: Task, exception: BaseException, **given: Any) -> None:
    with sentry_sdk.isolation_scope() as scope:
        _describe(scope, sender)
        # The texts differ, by a job's number, and there is no traceback of the task to group by.
        scope.fingerprint = [type(exception).__name__, sender.name]
        _failed(sender, exception.with_traceback(None), **given)


def _failed(
    sender: Task,
    exception: BaseException,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    **_: Any,
) -> None:
    if isinstance(exception, sender.throws or ()):
        return
    options = sentry_sdk.get_client().options
    event, hint = event_from_exception(
        exception, client_options=options, mechanism={'type': 'celery', 'handled': False}
    )
    event['breadcrumbs'] = {'values': list(getattr(sender.request, HEADER, None) or ())}
    # SENTRY_SEND_ARGUMENTS: local variables hold the arguments as well.
    if options['include_local_variables']:
        event['extra'] = {'args': list(args or ()), 'kwargs': dict(kwargs or {})}
    elif isinstance(exception, MaxRetriesExceededError):
        for value in event['exception']['values']:  # its text has them
            if value['type'] == MaxRetriesExceededError.__name__:
                value['value'] = str(value['value']).partition(' args:')[0]
    sentry_sdk.capture_event(event, hint=hint)


def _describe(scope: sentry_sdk.Scope, task: Task) -> None:
    """Have the events of a scope tell of one task, and of none before."""
    request: Context = task.request
    message = ((request.properties or {}).get('delivery_info') or {}).get('sqs_message') or {}
    tags = {
        'task': task.name,
        'queue': (request.delivery_info or {}).get('routing_key'),
        'attempt': (request.retries or 0) + 1,
        'celery_task_id': request.id,
        'message_id': message.get('MessageId'),
        'trace_id': getattr(request, 'trace_id', None),
    }
    scope.clear()
    scope.set_transaction_name(task.name)
    scope.set_tags({tag: str(value) for tag, value in tags.items() if value is not None})
