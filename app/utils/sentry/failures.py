"""Reports the final failures of tasks, and nothing that will be tried again."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from celery import Task, signals
from celery.app.task import Context
from celery.exceptions import MaxRetriesExceededError
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.utils import event_from_exception

from app.utils.sentry.tags import TASK

__all__ = ['report', 'report_of_pool']

MECHANISM = {'type': 'celery', 'handled': False}


def report_of_pool() -> None:
    """Report what fails in this process, once its failure is stored.

    Not where it is raised, as the SDK does: a task may still be retried there, or go back to its
    queue since its failure could not be stored, and a result that cannot be encoded fails later.
    """
    signals.task_prerun.connect(_begins)
    signals.task_failure.connect(_failed)


def _begins(**_: Any) -> None:
    # Two tasks may raise the very same object: two failures. Within a task, one is reported once.
    DedupeIntegration.reset_last_seen()


def _failed(sender: Task, exception: BaseException, **_: Any) -> None:
    request = sender.request
    report(sender, request, exception, (request.args, request.kwargs))


def report(
    task: Task, request: Context, error: BaseException, arguments: tuple[Any, Any], **fields: Any
) -> None:
    """Send a report, unless the task expects the error: it is one of its ``throws``.

    Arguments:
        arguments: the task's, which are sent if the settings allow it.
        fields: more of the report.
    """
    if task.throws and isinstance(error, task.throws):
        return
    options = sentry_sdk.get_client().options
    event, hint = event_from_exception(error, client_options=options, mechanism=MECHANISM)
    # The setting that sends arguments sends local variables too, which hold them as well.
    if options['include_local_variables']:
        args, kwargs = arguments
        event['extra'] = {'args': list(args or ()), 'kwargs': dict(kwargs or {})}
    elif isinstance(error, MaxRetriesExceededError):
        for value in event['exception']['values']:  # its text has them
            if value['type'] == MaxRetriesExceededError.__name__:
                value['value'] = str(value['value']).partition(' args:')[0]
    event.update(fields)  # type: ignore[typeddict-item]
    sentry_sdk.capture_event(event, hint={**hint, TASK: (task.name, request)})
