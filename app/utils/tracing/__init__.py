"""Traces: ``with tracer().start_active_span('resize'):`` in a task makes a span of your own."""

from be_queue.worker.tracing import tracer

__all__ = ['tracer']
