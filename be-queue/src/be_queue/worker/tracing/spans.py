"""The spans of a task: `wait`, from its sending to its start, and `run`.

send (be_queue/tracing.py) -> wait -> run -> send ... of the tasks that it sends
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import opentracing  # type: ignore[import-untyped]

from be_queue.tracing import JAEGER, SENT_AT, W3C, in_both_forms, mark_failed
from be_queue.worker.redaction import redacted

__all__ = ['TAKEN_AT', 'context', 'ended', 'failed', 'lost', 'sent_at', 'sqs_sent_at', 'started']

#: Header under which the time at which SQS took the message reaches the pool process.
TAKEN_AT = 'trace_taken_at'

#: Attribute of a request: the scope in which its span is the active one.
_SCOPE = '_trace_scope'


def started(name: str, request: Any) -> None:
    """Begin the span of a task that starts now, and make it the active one.

    Sets ``request.trace_id``, in hex, sampled or not.
    """
    tracer = opentracing.global_tracer()
    tags = _tags(name, request.id, vars(request))
    if request.is_eager:  # called in the midst of another task, if of any
        span = tracer.start_span(f'run {name}', tags=tags)
    else:
        span = _begun(tracer, name, vars(request), tags, time.time())
    setattr(request, _SCOPE, tracer.scope_manager.activate(span, finish_on_close=False))
    request.trace_id = _trace_id(span)


def failed(request: Any, error: BaseException) -> None:
    """Put the error of an attempt on the task's span."""
    scope = getattr(request, _SCOPE, None)
    if scope is not None:
        mark_failed(scope.span, error, redacted)


def ended(request: Any, state: str | None) -> None:
    """End the span of a task.

    Arguments:
        state: Celery's; None when the task ended in an error inside Celery.
    """
    scope = request.__dict__.pop(_SCOPE, None)
    if scope is None:
        return
    error = sys.exc_info()[1] if state is None else None
    if isinstance(error, SystemExit):
        return  # the process is being killed: see `lost`
    scope.span.set_tag('celery.state', state or 'FAILURE')
    if error is not None:
        mark_failed(scope.span, error, redacted)
    scope.close()
    # Not by the scope, which jaeger-client does not close while the task has left one open in it.
    scope.span.finish()


def lost(name: str, message_headers: Mapping[str, Any], began: float, error: Exception) -> None:
    """Report the run of a task whose process is gone; that process has reported the wait.

    Arguments:
        began: when it started, in seconds since 1970.
    """
    tracer = opentracing.global_tracer()
    span = tracer.start_span(
        f'run {name}',
        child_of=context(tracer, message_headers),
        tags=_tags(name, message_headers['id'], message_headers),
        start_time=began,
        ignore_active_span=True,
    )
    span.set_tag('celery.state', 'FAILURE')
    mark_failed(span, error, redacted)
    span.finish()


def context(tracer: Any, headers: Mapping[str, Any]) -> Any:
    """Return the context in which the task was sent; None when it was sent without."""
    found = in_both_forms({name: headers.get(name) for name in (JAEGER, W3C)})
    return tracer.extract(opentracing.Format.TEXT_MAP, found) if found else None


def sent_at(headers: Mapping[str, Any], now: float) -> float | None:
    """Return when the task was sent, in seconds since 1970; None when no header says so.

    The sender's time is better than SQS's, which for a delayed task is when it was last sent again.
    A time in the future, by a clock that is ahead, counts as ``now``.
    """
    for name in (SENT_AT, TAKEN_AT):
        given = headers.get(name)
        if isinstance(given, (int, float)) and given > 0:
            return min(float(given), now)
    return None


def sqs_sent_at(delivery_info: Mapping[str, Any] | None) -> float | None:
    """Return when SQS took a received message, in seconds since 1970."""
    message = (delivery_info or {}).get('sqs_message') or {}
    milliseconds = (message.get('Attributes') or {}).get('SentTimestamp')
    return int(milliseconds) / 1000 if milliseconds else None


def _begun(
    tracer: Any, name: str, message_headers: Mapping[str, Any], tags: dict[str, Any], began: float
) -> Any:
    """Return the span of the run, after one for the wait before it."""
    parent = context(tracer, message_headers)
    sent, references = sent_at(message_headers, began), None
    if sent is not None:
        wait = tracer.start_span(
            f'wait {name}',
            child_of=parent,
            tags=dict(tags),
            start_time=sent,
            ignore_active_span=True,
        )
        wait.finish(began)
        references, parent = [opentracing.follows_from(wait.context)], None
    return tracer.start_span(
        f'run {name}',
        child_of=parent,
        references=references,
        tags=tags,
        start_time=began,
        ignore_active_span=True,
    )


def _tags(name: str, task_id: str, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'span.kind': 'consumer',
        'component': 'celery',
        'message_bus.destination': str((about.get('delivery_info') or {}).get('routing_key')),
        'peer.service': 'sqs',
        'celery.task_name': name,
        'celery.task_id': task_id,
        'celery.attempt': (about.get('retries') or 0) + 1,
    }


def _trace_id(span: Any) -> str:
    found = span.context
    # OpenTelemetry's is in a wrapping.
    number = found.trace_id if hasattr(found, 'trace_id') else found.unwrap().trace_id
    return f'{number:032x}'
