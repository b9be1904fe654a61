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
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from be_queue.outage import Outage
from be_queue.worker.settings import Settings
from be_queue.worker.tracing import masked

# Some platforms set it for all programs, and the import fails with one that is not installed.
os.environ.pop(OTEL_PROPAGATORS, None)

from opentelemetry.propagate import set_global_textmap
from opentelemetry.shim.opentracing_shim import TracerShim

__all__ = ['start']

#: Characters kept of a text.
TEXT_LENGTH = 16_000
#: The most spans that wait; beyond it, the oldest are dropped.
QUEUE_SIZE = 1_000
BATCH_SIZE = 200
#: A batch is collected for so long, and a process that is killed loses it.
FLUSH_MILLISECONDS = 500
CHECK = 'OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS'


def start(config: Settings, logs_outages: bool) -> Callable[[float], None]:
    """Make this process's tracer the global one; return what sends its last spans and ends it.

    Arguments:
        logs_outages: whether to log that the collector does not take spans.
    """
    resource: dict[str, Any] = {
        'service.name': config.service_name,
        'service.version': config.release,
        'deployment.environment.name': config.env,
        'process.pid': os.getpid(),
    }
    provider = TracerProvider(_sampler(config), Resource.create(resource), shutdown_on_exit=False)
    exporter = MaskingExporter(str(config.otel_exporter_otlp_endpoint), logs_outages)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, QUEUE_SIZE, FLUSH_MILLISECONDS, BATCH_SIZE)
    )
    set_global_textmap(TraceContextTextMapPropagator())  # the context in the headers of tasks
    opentracing.set_global_tracer(TracerShim(provider.get_tracer(__name__)))

    def stop(timeout: float) -> None:
        # By itself it waits up to 30 s for the collector.
        thread = threading.Thread(target=provider.shutdown, daemon=True)
        thread.start()
        thread.join(timeout)

    return stop


def check(config: Settings, timeout: float) -> None:
    """Raise `ConnectionError` when the collector does not take spans within ``timeout`` seconds."""
    exporter = MaskingExporter(str(config.otel_exporter_otlp_endpoint), False, timeout)
    if exporter.export([]) is not SpanExportResult.SUCCESS:
        raise ConnectionError(f'{exporter.log.text}: check {CHECK}')


class MaskingExporter(OTLPSpanExporter):
    """Masks secrets on each span, and logs once when the collector becomes unavailable."""

    def __init__(self, endpoint: str, logs_outages: bool, timeout: float | None = None) -> None:
        super().__init__(endpoint=f'{endpoint.rstrip("/")}/v1/traces', timeout=timeout)
        self._outage = Outage('the OTLP endpoint', hint=CHECK) if logs_outages else None
        #: The exporter's own.
        self.log = LastLine()
        # The exporter logs every attempt.
        logger = logging.getLogger('opentelemetry.exporter.otlp')
        logger.handlers, logger.propagate = [self.log], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export([_masked(span) for span in spans])
        if self._outage is not None:
            if result is SpanExportResult.SUCCESS:
                self._outage.ended()
            else:
                self._outage.failed(ConnectionError(self.log.text))
        return result


class LastLine(logging.Handler):
    """Keeps the message of the last log record."""

    text = ''

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _masked(span: ReadableSpan) -> ReadableSpan:
    def safe(value: Any) -> Any:
        return masked(value, TEXT_LENGTH)

    attributes, status = safe(span.attributes or {}), span.status
    # The shim leaves the kind and the error as the tags that they are in OpenTracing.
    kind = getattr(SpanKind, str(attributes.get('span.kind')).upper(), span.kind)
    is_error = attributes.get('error') is True or status.status_code is StatusCode.ERROR
    return ReadableSpan(
        name=safe(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[Event(safe(e.name), safe(e.attributes), e.timestamp) for e in span.events],
        links=span.links,
        kind=kind,
        status=Status(StatusCode.ERROR, safe(status.description)) if is_error else status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class RateLimited(sampling.Sampler):
    """Samples a number of traces per second, and at most one second's worth at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second, self._most = per_second, max(1.0, per_second)
        self._left, self._at = self._most, time.monotonic()

    def should_sample(self, *_: Any, **given: Any) -> sampling.SamplingResult:
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return sampling.SamplingResult(sampling.Decision.DROP)
        self._left -= 1
        return sampling.SamplingResult(sampling.Decision.RECORD_AND_SAMPLE, given.get('attributes'))

    def get_description(self) -> str:
        return f'RateLimited({self._per_second:g})'


def _sampler(config: Settings) -> sampling.Sampler:
    param = config.jaeger_sampler_param
    root: sampling.Sampler = RateLimited(param)
    if config.jaeger_sampler_type == 'const':
        root = sampling.ALWAYS_ON if param else sampling.ALWAYS_OFF
    elif config.jaeger_sampler_type == 'probabilistic':
        root = sampling.TraceIdRatioBased(param)
    # Where the sender of a task has decided, that holds.
    return sampling.ParentBased(root)
