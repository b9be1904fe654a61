"""A tracer for the same calls that sends its spans as OTLP, by OpenTelemetry and its shim.

The packages are the group ``otlp``. OpenTelemetry's own batch processor is not used: its thread
starts again in whatever process is forked, and waits for long at the end.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import Status, StatusCode

from app.config.configuration import Config
from app.utils.tracing.cleaned import cleaned
from app.utils.tracing.outbox import Outbox
from app.utils.tracing.w3c import Tracer
from be_queue.outage import Outage

__all__ = ['start']

#: Characters kept of an attribute's text.
TEXT_LENGTH = 16_384
CHECK = 'OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS'
KINDS = {
    'producer': SpanKind.PRODUCER,
    'consumer': SpanKind.CONSUMER,
    'client': SpanKind.CLIENT,
    'server': SpanKind.SERVER,
}


def start(config: Config, tells: bool) -> tuple[Tracer, Outbox]:
    """Return a tracer of this process, and what sends its spans.

    Arguments:
        tells: whether the log says when the endpoint is away.
    """
    outage = Outage('the OTLP endpoint', hint=CHECK) if tells else None
    endpoint = Endpoint(str(config.otel_exporter_otlp_endpoint))
    outbox = Outbox(endpoint.send, endpoint.close, outage)
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
        span_limits=SpanLimits(max_attribute_length=TEXT_LENGTH),
    )
    provider.add_span_processor(Finished(outbox))
    return Tracer(provider), outbox


class Finished(SpanProcessor):
    """Takes the spans that are finished."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        # The shim leaves what OpenTracing says with tags as tags.
        attributes = span.attributes or {}
        span._kind = KINDS.get(str(attributes.get('span.kind')), span.kind)
        if attributes.get('error') is True and span.status.status_code is StatusCode.UNSET:
            span._status = Status(StatusCode.ERROR)
        self._outbox.put(span)


class Endpoint:
    """Where OTLP over HTTP is taken."""

    def __init__(self, url: str) -> None:
        self._exporter = OTLPSpanExporter(endpoint=f'{url.rstrip("/")}/v1/traces')
        self._log = LastLine()
        self._log.listen()

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Send spans, trying for 10 s (OTEL_EXPORTER_OTLP_TIMEOUT); raises ConnectionError."""
        for span in spans:
            _clean(span)
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise ConnectionError(self._log.text)

    def close(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()


def _clean(span: ReadableSpan) -> None:
    # In place: it is finished, and nobody else reads it.
    span._name = cleaned(span.name)
    span._attributes = _cleaned(span._attributes)
    for event in span.events:
        event._name = cleaned(event.name)
        event._attributes = _cleaned(event._attributes)
    if span.status.description:
        span._status = Status(span.status.status_code, cleaned(span.status.description))


def _cleaned(attributes: Any) -> BoundedAttributes:
    kept = BoundedAttributes(attributes=cleaned(attributes or {}))
    kept.dropped = getattr(attributes, 'dropped', 0)
    return kept


class LastLine(logging.Handler):
    """Keeps what the exporter logs, which is a line for each of its tries."""

    text = ''

    def listen(self) -> None:
        """Take the lines from the log."""
        logger = logging.getLogger('opentelemetry.exporter.otlp')
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class RateLimited(Sampler):
    """Chooses so many traces a second, and at most a second's worth at once."""

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
            chosen = self._left >= 1
            self._left -= chosen
        return SamplingResult(Decision.RECORD_AND_SAMPLE if chosen else Decision.DROP, attributes)

    def get_description(self) -> str:
        return f'RateLimited({self._per_second:g})'


def _sampler(config: Config) -> Sampler:
    # What the sender of a task chose holds for the task as well.
    param = config.jaeger_sampler_param
    if config.jaeger_sampler_type == 'const':
        return ParentBased(ALWAYS_ON if param else ALWAYS_OFF)
    if config.jaeger_sampler_type == 'probabilistic':
        return ParentBased(TraceIdRatioBased(param))
    return ParentBased(RateLimited(param))
