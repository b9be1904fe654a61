"""Signals that make a task's spans; imported while tracing is on."""

from __future__ import annotations

from typing import Any

from celery import Task, current_app, signals
from celery.exceptions import Reject

from be_queue.tracing import trace_sends
from be_queue.worker import tracing
from be_queue.worker.redaction import redacted
from be_queue.worker.role import Role
from be_queue.worker.tracing import spans

__all__ = ['connect']


def connect(role: Role) -> None:
    """Make the spans of the tasks that run in this process, and of those that they send.

    The worker's main process makes those that a pool process cannot report any more.
    """
    if role is Role.CONSUMER:
        signals.task_received.connect(_received)
        signals.task_failure.connect(_lost)
        return
    signals.task_failure.disconnect(_lost)  # inherited
    trace_sends(current_app, redacted)
    signals.task_prerun.connect(_prerun)
    signals.task_failure.connect(_failure)
    signals.task_retry.connect(_retry)
    signals.task_postrun.connect(_postrun)


def _received(request: Any, **_: Any) -> None:
    request.request_dict[spans.TAKEN_AT] = spans.sqs_sent_at(request.message.delivery_info)


def _lost(sender: Task, exception: Exception, **_: Any) -> None:
    began = getattr(sender.request, 'time_start', None)
    # The process of a task that rejects its message is there, and has reported it.
    if began and not isinstance(exception, Reject):
        tracing.ensure_started()
        spans.lost(sender.name, vars(sender.request), began, exception)


def _prerun(task: Task, **_: Any) -> None:
    spans.started(task.name, task.request)


def _failure(sender: Task, exception: BaseException, **_: Any) -> None:
    spans.failed(sender.request, exception)


def _retry(request: Any, reason: Any, **_: Any) -> None:
    # A task may also ask to be run again later, without that anything went wrong.
    if reason.exc is not None:
        spans.failed(request, reason.exc)


def _postrun(task: Task, state: str | None, **_: Any) -> None:
    spans.ended(task.request, state)
