"""The spans of a task, by Celery's signals: `wait`, from its sending to its start, and `run`.

send (be_queue/tracing.py) -> wait -> run -> send ... of the tasks that it sends
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import opentracing  # type: ignore[import-untyped]
from celery import Task, current_app, signals, states
from celery.exceptions import Reject

from be_queue.tracing import JAEGER, SENT_AT, W3C, in_both_forms, mark_failed, trace_sends
from be_queue.worker import tracing
from be_queue.worker.redaction import redacted
from be_queue.worker.revoked import Revoked
from be_queue.worker.role import Role

__all__ = ['connect', 'ended', 'failed', 'lost', 'started']


def connect(role: Role) -> None:
    """Make the spans of the tasks that run in this process, and of those that they send.

    The worker's main process makes those that a pool process cannot report any more.
    """
    if role is Role.CONSUMER:
        signals.task_failure.connect(lost)
        return
    signals.task_failure.disconnect(lost)  # inherited
    trace_sends(current_app, redacted)
    signals.task_prerun.connect(started)
    signals.task_failure.connect(failed)
    signals.task_retry.connect(_retried)
    signals.task_postrun.connect(ended)


def started(task: Task, **_: Any) -> None:
    """Begin the span of a task that starts now, after one for its wait, and make it the active one.

    Sets ``request.trace_id``, in hex, sampled or not.
    """
    request, now = task.request, time.time()
    tracer, headers = opentracing.global_tracer(), vars(request)
    if request.is_eager:  # called in the midst of another task, if of any
        span = tracer.start_span(f'run {task.name}', tags=_tags(task.name, headers))
    else:
        references, parent = None, _context(tracer, headers)
        sent_at = _sent_at(headers)
        if sent_at is not None:
            # A clock that is ahead sends in the future.
            wait = _started('wait', task.name, headers, min(sent_at, now), child_of=parent)
            wait.finish(now)
            references, parent = [opentracing.follows_from(wait.context)], None
        span = _started('run', task.name, headers, now, child_of=parent, references=references)
    request.trace_scope = tracer.scope_manager.activate(span, finish_on_close=False)
    context = span.context
    # OpenTelemetry's is in a wrapping.
    number = context.trace_id if hasattr(context, 'trace_id') else context.unwrap().trace_id
    request.trace_id = f'{number:032x}'


def failed(sender: Task, exception: BaseException, **_: Any) -> None:
    """Put the error of an attempt on the task's span."""
    if scope := getattr(sender.request, 'trace_scope', None):
        mark_failed(scope.span, exception, redacted)


def _retried(sender: Task, reason: Any, **_: Any) -> None:
    # A task may also ask to be run again later, without that anything went wrong.
    if reason.exc is not None:
        failed(sender, reason.exc)


def ended(task: Task, state: str | None, **_: Any) -> None:
    """End the span of a task, whose state is None when it ended in an error inside Celery."""
    scope = vars(task.request).pop('trace_scope', None)
    error = sys.exc_info()[1] if state is None else None
    if isinstance(error, Revoked):
        state, error = states.REVOKED, None
    if scope is None or isinstance(error, SystemExit):
        return  # the process is being killed: see `lost`
    scope.span.set_tag('celery.state', state or 'FAILURE')
    if error is not None:
        mark_failed(scope.span, error, redacted)
    scope.close()
    # Not by the scope, which jaeger-client does not close while the task has left one open in it.
    scope.span.finish()


def lost(sender: Task, exception: Exception, **_: Any) -> None:
    """Report the run of a task whose process is gone; that process has reported the wait."""
    headers = vars(sender.request)
    began = headers.get('time_start')
    # The process of a task that rejects its message is there, and has reported it.
    if began and not isinstance(exception, Reject):
        tracing.ensure_started()
        context = _context(opentracing.global_tracer(), headers)
        span = _started('run', sender.name, headers, began, child_of=context)
        span.set_tag('celery.state', 'FAILURE')
        mark_failed(span, exception, redacted)
        span.finish()


def _started(what: str, name: str, headers: Mapping[str, Any], at: float, **given: Any) -> Any:
    return opentracing.global_tracer().start_span(
        f'{what} {name}',
        tags=_tags(name, headers),
        start_time=at,
        ignore_active_span=True,
        **given,
    )


def _tags(name: str, headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'span.kind': 'consumer',
        'component': 'celery',
        'message_bus.destination': str((headers.get('delivery_info') or {}).get('routing_key')),
        'peer.service': 'sqs',
        'celery.task_name': name,
        'celery.task_id': headers['id'],
        'celery.attempt': (headers.get('retries') or 0) + 1,
    }


def _context(tracer: Any, headers: Mapping[str, Any]) -> Any:
    """Return the context in which the task was sent; None when it was sent without."""
    found = in_both_forms({name: headers.get(name) for name in (JAEGER, W3C)})
    return tracer.extract(opentracing.Format.TEXT_MAP, found) if found else None


def _sent_at(headers: Mapping[str, Any]) -> float | None:
    """Return when the task was sent, in seconds since 1970; None when nothing says so.

    The sender's time is better than SQS's, which for a delayed task is when it was last sent again.
    """
    given = headers.get(SENT_AT)
    if isinstance(given, (int, float)) and given > 0:
        return float(given)
    info = (headers.get('properties') or {}).get('delivery_info') or {}
    attributes = (info.get('sqs_message') or {}).get('Attributes') or {}
    milliseconds = attributes.get('SentTimestamp')
    return int(milliseconds) / 1000 if milliseconds else None
