"""A tracer of OpenTelemetry behind OpenTracing's calls, which sends its spans as OTLP over HTTP.

The packages are the group ``otlp``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import opentracing  # type: ignore[import-untyped]
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.config.configuration import Config
from app.utils.tracing.masking import masked
from be_queue.outage import Outage

try:
    from opentelemetry.shim.opentracing_shim import SpanContextShim, TracerShim
except ValueError:
    # Platforms set it for all that runs on them, also to a propagator that is not installed here.
    os.environ.pop(OTEL_PROPAGATORS)
    from opentelemetry.shim.opentracing_shim import SpanContextShim, TracerShim

__all__ = ['start']

#: Characters kept of a text.
TEXT_LENGTH = 16_000
#: Spans that wait at most; of more, the oldest are dropped.
QUEUE_SIZE = 1_000
BATCH_SIZE = 200
#: Milliseconds for which a batch is collected: a process that is killed loses that much.
FLUSH_MILLISECONDS = 500
CHECK = 'OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS'
KINDS = {
    'producer': SpanKind.PRODUCER,
    'consumer': SpanKind.CONSUMER,
    'client': SpanKind.CLIENT,
    'server': SpanKind.SERVER,
}
W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


def start(config: Config, logs_outages: bool) -> Callable[[float], None]:
    """Make this process's tracer the global one; return what sends its last spans and ends it.

    Arguments:
        logs_outages: whether to log that the collector does not take spans.
    """
    provider = TracerProvider(
        sampler=_sampler(config),
        resource=Resource.create(
            {
                'service.name': config.service_name,
                'service.version': config.release,
                'deployment.environment.name': config.env,
                'process.pid': os.getpid(),
            }
        ),
        shutdown_on_exit=False,
    )
    exporter = MaskingExporter(str(config.otel_exporter_otlp_endpoint), logs_outages)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, QUEUE_SIZE, FLUSH_MILLISECONDS, BATCH_SIZE)
    )
    opentracing.set_global_tracer(Tracer(provider.get_tracer(__name__)))

    def stop(timeout: float) -> None:
        # It would wait for the collector up to 30 s.
        thread = threading.Thread(target=provider.shutdown, daemon=True)
        thread.start()
        thread.join(timeout)

    return stop


class Tracer(TracerShim):
    """The shim, with W3C's context in the headers of tasks whatever OTEL_PROPAGATORS says."""

    def inject(self, span_context: Any, format: object, carrier: Any) -> None:
        if format != opentracing.Format.TEXT_MAP:
            super().inject(span_context, format, carrier)
            return
        W3C.inject(carrier, set_span_in_context(NonRecordingSpan(span_context.unwrap())))

    def extract(self, format: object, carrier: Any) -> SpanContextShim:
        if format != opentracing.Format.TEXT_MAP:
            return super().extract(format, carrier)  # type: ignore[no-any-return]
        return SpanContextShim(get_current_span(W3C.extract(carrier)).get_span_context())


class MaskingExporter(OTLPSpanExporter):
    """Masks secrets on each span, and logs an outage of the collector once."""

    def __init__(self, endpoint: str, logs_outages: bool) -> None:
        super().__init__(endpoint=f'{endpoint.rstrip("/")}/v1/traces')
        self._outage = Outage('the OTLP endpoint', hint=CHECK) if logs_outages else None
        self._last_line = LastLine()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export([_as_sent(span) for span in spans])
        if self._outage is not None:
            if result is SpanExportResult.SUCCESS:
                self._outage.ended()
            else:
                self._outage.failed(ConnectionError(self._last_line.text))
        return result


class LastLine(logging.Handler):
    """Keeps the exporter's last log line: it writes one for each of its tries."""

    text = ''

    def __init__(self) -> None:
        super().__init__()
        logger = logging.getLogger('opentelemetry.exporter.otlp')
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _as_sent(span: ReadableSpan) -> ReadableSpan:
    attributes = masked(span.attributes or {}, TEXT_LENGTH)
    status = span.status
    # The shim leaves OpenTracing's tags for these two as tags.
    kind = KINDS.get(attributes.get('span.kind', ''), span.kind)
    if attributes.get('error') is True and status.status_code is StatusCode.UNSET:
        status = Status(StatusCode.ERROR)
    elif status.description:
        status = Status(status.status_code, masked(status.description, TEXT_LENGTH))
    return ReadableSpan(
        name=masked(span.name, TEXT_LENGTH),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[
            Event(
                masked(event.name, TEXT_LENGTH),
                masked(event.attributes or {}, TEXT_LENGTH),
                event.timestamp,
            )
            for event in span.events
        ],
        links=span.links,
        kind=kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class RateLimited(Sampler):
    """Samples a number of traces per second, and at most one second's worth at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._left = self._most
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        with self._lock:
            now = time.monotonic()
            self._left = min(self._most, self._left + (now - self._at) * self._per_second)
            self._at = now
            is_sampled = self._left >= 1
            self._left -= is_sampled
        decision = Decision.RECORD_AND_SAMPLE if is_sampled else Decision.DROP
        return SamplingResult(decision, attributes)

    def get_description(self) -> str:
        return f'RateLimited({self._per_second:g})'


def _sampler(config: Config) -> Sampler:
    # Where the sender of a task has decided, that holds.
    param = config.jaeger_sampler_param
    if config.jaeger_sampler_type == 'const':
        return ParentBased(ALWAYS_ON if param else ALWAYS_OFF)
    if config.jaeger_sampler_type == 'probabilistic':
        return ParentBased(TraceIdRatioBased(param))
    return ParentBased(RateLimited(param))
