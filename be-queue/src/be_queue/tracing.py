"""Spans of what is sent, for producers that use OpenTracing: off until `trace_sends` is called.

OpenTracing is no dependency of be_queue: a tracer brings it.

The context of a trace travels in the headers of the message, in two forms: ``uber-trace-id`` for
Jaeger's clients, ``traceparent`` (W3C) for OpenTelemetry's. So both sides may use either.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kombu.utils.encoding import safe_repr

from be_queue.errors import SettingError
from be_queue.redact import redact

if TYPE_CHECKING:
    from celery import Celery

__all__ = ['JAEGER', 'SENT_AT', 'W3C', 'in_both_forms', 'mark_failed', 'trace_sends']

#: Headers of the context.
JAEGER = 'uber-trace-id'
W3C = 'traceparent'
#: Header of the time at which the task was sent, in seconds since 1970.
SENT_AT = 'trace_sent_at'

#: Characters kept of an error's message and of its traceback. A Jaeger agent takes no packet of
#: more than 65,000 bytes.
MESSAGE_LENGTH = 1_000
STACK_LENGTH = 8_000
#: Characters at either end in which secrets are masked; the middle of longer texts is dropped
#: first, since masking takes a task's time. Far more than is kept, so that no half of a secret is.
MASKED_LENGTH = 100_000

#: Flags that are kept. Jaeger's: sampled, debug. W3C's: sampled; its second one is about the id.
JAEGER_FLAGS = 0b11
W3C_FLAGS = 0b1

_JAEGER = re.compile(r'([0-9a-f]{1,32}):([0-9a-f]{1,16}):[0-9a-f]{1,16}:([0-9a-f]{1,2})', re.I)
_W3C = re.compile(r'[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?', re.I)

Send = Callable[..., Any]
Mask = Callable[[str], str]


def _without_passwords(text: str) -> str:
    # By lines: of a whole traceback the mask would take all from a URL to the next '@'.
    return '\n'.join(redact(line) for line in text.split('\n'))


def trace_sends(app: Celery, mask: Mask = _without_passwords) -> None:
    """Make a span of each task that the app sends, with OpenTracing's global tracer.

    The tracer is looked up at each send, so it may be set later, or again after a fork. Without
    one, messages stay as they are. The span is a child of the active one, and ends when SQS has
    the message, or in `send_batch` when the batch has it.

    Arguments:
        mask: returns a text without secrets, for the errors of sends that fail; by default without
            the passwords in URLs. Of several calls for one app, the last one's counts.

    Raises `SettingError` when OpenTracing is not installed.
    """
    try:
        import opentracing  # type: ignore[import-untyped]
    except ImportError:
        raise SettingError(
            'trace_sends: OpenTracing is not installed: pip install opentracing, and a tracer such '
            'as jaeger-client'
        ) from None
    send = getattr(app.amqp.send_task_message, 'untraced', app.amqp.send_task_message)
    broker = str(redact(app.conf.broker_url or ''))
    app.amqp.send_task_message = _traced(send, broker, mask, opentracing)


def in_both_forms(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the context of some headers in both forms; {} when there is none that can be read.

    Baggage, and whatever else a tracer writes beside the context, is left out.
    """
    ids, known_flags = _ids(headers.get(JAEGER), _JAEGER), JAEGER_FLAGS
    if ids is None:
        ids, known_flags = _ids(headers.get(W3C), _W3C), W3C_FLAGS
    if ids is None:
        return {}
    trace, span, flags = ids
    return {
        JAEGER: f'{trace:x}:{span:x}:0:{flags & known_flags:x}',
        W3C: f'00-{trace:032x}-{span:016x}-{flags & W3C_FLAGS:02x}',
    }


def mark_failed(span: Any, error: BaseException, mask: Mask = _without_passwords) -> None:
    """Put an error and its traceback on a span, by OpenTracing's conventions.

    Long texts lose their middle.

    Arguments:
        mask: returns a text without secrets; by default without the passwords in URLs.
    """
    stack = ''.join(traceback.format_exception(error))
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  (whatever an exception of a task's own does)
        message = safe_repr(error)
    span.set_tag('error', True)
    span.log_kv(
        {
            'event': 'error',
            'error.kind': type(error).__name__,
            'error.object': _bounded(safe_repr(error), MESSAGE_LENGTH, mask),
            'message': _bounded(message, MESSAGE_LENGTH, mask),
            'stack': _bounded(stack, STACK_LENGTH, mask),
        }
    )


def _traced(send: Send, broker: str, mask: Mask, opentracing: Any) -> Send:
    """Return Celery's function that sends a task's message, with a span around it."""

    def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
        if not opentracing.is_global_tracer_registered():
            return send(producer, name, message, **options)
        tracer = opentracing.global_tracer()
        span = _started(opentracing, tracer, broker, name, message, options)
        # These win over the message's own: a retry has the context of its first attempt.
        headers = options.pop('headers', None) or {}
        headers = headers | _context(opentracing, tracer, span) | {SENT_AT: time.time()}
        try:
            return send(producer, name, message, headers=headers, **options)
        except BaseException as error:
            mark_failed(span, error, mask)
            raise
        finally:
            span.finish()

    send_task_message.untraced = send  # type: ignore[attr-defined]
    return send_task_message


def _started(
    opentracing: Any, tracer: Any, broker: str, name: str, message: Any, options: dict[str, Any]
) -> Any:
    # Task protocol 1 has in the body what the second has in the headers.
    about = message.headers if 'id' in message.headers else message.body
    queue = options.get('queue')
    attempt = (about.get('retries') or 0) + 1
    tags = {
        'span.kind': 'producer',
        'component': 'celery',
        'message_bus.destination': str(getattr(queue, 'name', queue) or options.get('routing_key')),
        'peer.service': 'sqs',
        'peer.address': broker,
        'celery.task_name': name,
        'celery.task_id': about['id'],
        'celery.attempt': attempt,
    }
    if about.get('eta'):
        tags['celery.eta'] = about['eta']
    parent, references = tracer.active_span, None
    if parent is None:
        given = in_both_forms(options.get('headers') or {})
        parent = tracer.extract(opentracing.Format.TEXT_MAP, given) if given else None
    elif attempt > 1 and about['id'] == _running_task():
        references = [opentracing.follows_from(parent.context)]
    return tracer.start_span(f'send {name}', child_of=parent, references=references, tags=tags)


def _running_task() -> str | None:
    from celery import current_task

    return current_task.request.id if current_task else None


def _context(opentracing: Any, tracer: Any, span: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    tracer.inject(span.context, opentracing.Format.TEXT_MAP, headers)
    return headers | in_both_forms(headers)


def _ids(text: Any, form: re.Pattern[str]) -> tuple[int, int, int] | None:
    """Return trace, span and flags of a header; None when it is of another form."""
    match = form.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    trace, span, flags = (int(match[group], 16) for group in (1, 2, 3))
    return (trace, span, flags) if trace and span else None


def _bounded(text: str, length: int, mask: Mask) -> str:
    """Return a text that can be sent: without secrets, and without the middle of a long one."""
    if len(text) > 2 * MASKED_LENGTH:
        text = f'{text[:MASKED_LENGTH]}\n{text[-MASKED_LENGTH:]}'
    # Before it is truncated: half a secret is not recognised.
    text = mask(text)
    # Lone surrogates, as in file names that are not UTF-8, cannot be encoded.
    text = text.encode('utf-8', 'backslashreplace').decode()
    if len(text) > length:
        # The beginning tells where it comes from, the end what happened.
        head = length // 4
        text = f'{text[:head]}\n[...]\n{text[head - length :]}'
    return text
