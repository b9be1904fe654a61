"""OpenTelemetry's shim for OpenTracing, with W3C's form of the context in the headers of tasks.

OTEL_PROPAGATORS chooses another for HTTP, and platforms set it for all that runs on them; what
travels between be_queue's producers and the worker is W3C's or Jaeger's.
"""

from __future__ import annotations

import os
from typing import Any

import opentracing  # type: ignore[import-untyped]
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

try:
    from opentelemetry.shim.opentracing_shim import SpanContextShim, TracerShim
except ValueError:
    # It names a propagator that is not installed, and OpenTelemetry refuses to be imported.
    _given = os.environ.pop(OTEL_PROPAGATORS)
    try:
        from opentelemetry.shim.opentracing_shim import SpanContextShim, TracerShim
    finally:
        os.environ[OTEL_PROPAGATORS] = _given

__all__ = ['Tracer']

_W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class Tracer(TracerShim):
    """The shim; with HTTP_HEADERS it does as OTEL_PROPAGATORS says."""

    def __init__(self, provider: TracerProvider) -> None:
        super().__init__(provider.get_tracer(__name__))

    def inject(self, span_context: Any, format: object, carrier: Any) -> None:
        """Write a context into headers."""
        if format != opentracing.Format.TEXT_MAP:
            super().inject(span_context, format, carrier)
            return
        span = NonRecordingSpan(span_context.unwrap())
        _W3C.inject(carrier, set_span_in_context(span))

    def extract(self, format: object, carrier: Any) -> SpanContextShim:
        """Return the context in headers."""
        if format != opentracing.Format.TEXT_MAP:
            return super().extract(format, carrier)  # type: ignore[no-any-return]
        return SpanContextShim(get_current_span(_W3C.extract(carrier)).get_span_context())
