"""Spans of what is sent, for producers that use OpenTracing: off until `trace_sends` is called.

OpenTracing is no dependency of be_queue: a tracer brings it.

The context of a trace travels in the headers of the message, in two forms: ``uber-trace-id`` for
Jaeger's clients, ``traceparent`` (W3C) for OpenTelemetry's. So both sides may use either.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

from celery import current_task

from be_queue.errors import SettingError
from be_queue.redact import redact
from be_queue.text import shortened

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

#: The groups of each form: trace, span, flags.
_FORMS = {
    JAEGER: re.compile(r'([0-9a-f]{1,32}):([0-9a-f]{1,16}):[0-9a-f]{1,16}:([0-9a-f]{1,2})', re.I),
    W3C: re.compile(r'[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?', re.I),
}

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

    def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
        if not opentracing.is_global_tracer_registered():
            return send(producer, name, message, **options)
        tracer = opentracing.global_tracer()
        given = options.pop('headers', None) or {}
        tags = _tags(name, message, options) | {'peer.address': broker}
        parent, references = tracer.active_span, None
        if parent is None:
            context = in_both_forms(given)
            parent = tracer.extract(opentracing.Format.TEXT_MAP, context) if context else None
        elif (
            tags['celery.attempt'] > 1
            and current_task
            and current_task.request.id == tags['celery.task_id']
        ):
            references = [opentracing.follows_from(parent.context)]
        span = tracer.start_span(f'send {name}', child_of=parent, references=references, tags=tags)
        injected: dict[str, str] = {}
        tracer.inject(span.context, opentracing.Format.TEXT_MAP, injected)
        # These win over the message's own: a retry has the context of its first attempt.
        headers = given | injected | in_both_forms(injected) | {SENT_AT: time.time()}
        try:
            return send(producer, name, message, headers=headers, **options)
        except BaseException as error:
            mark_failed(span, error, mask)
            raise
        finally:
            span.finish()

    send_task_message.untraced = send  # type: ignore[attr-defined]
    app.amqp.send_task_message = send_task_message


def in_both_forms(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the context of some headers in both forms; {} when there is none that can be read.

    Only the flag ``sampled`` is passed on; baggage is not.
    """
    for name, form in _FORMS.items():
        if match := form.fullmatch(str(headers.get(name))):
            trace, span, flags = (int(digits, 16) for digits in match.groups())
            if trace and span:
                return {
                    JAEGER: f'{trace:x}:{span:x}:0:{flags & 1}',
                    W3C: f'00-{trace:032x}-{span:016x}-{flags & 1:02}',
                }
    return {}


def mark_failed(span: Any, error: BaseException, mask: Mask = _without_passwords) -> None:
    """Put an error and its traceback on a span, by OpenTracing's conventions.

    Long texts lose their middle.

    Arguments:
        mask: returns a text without secrets; by default without the passwords in URLs.
    """
    described = TracebackException.from_exception(error)
    span.set_tag('error', True)
    span.log_kv(
        {
            'event': 'error',
            'error.kind': type(error).__name__,
            'message': shortened(mask(str(described)), MESSAGE_LENGTH),
            'stack': shortened(mask(''.join(described.format())), STACK_LENGTH),
        }
    )


def _tags(name: str, message: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    # Task protocol 1 has in the body what the second has in the headers.
    about = message.headers if 'id' in message.headers else message.body
    queue = options.get('queue')
    tags = {
        'span.kind': 'producer',
        'component': 'celery',
        'message_bus.destination': str(getattr(queue, 'name', queue) or options.get('routing_key')),
        'peer.service': 'sqs',
        'celery.task_name': name,
        'celery.task_id': about['id'],
        'celery.attempt': (about.get('retries') or 0) + 1,
    }
    return tags | {'celery.eta': about['eta']} if about.get('eta') else tags


def _running_task() -> str | None:
    return current_task.request.id if current_task else None
