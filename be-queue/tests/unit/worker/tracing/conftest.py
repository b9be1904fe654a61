"""Tracers of both exporters, and servers that receive their spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from opentracing import Tracer

from app.config.configuration import Config
from be_queue.worker import tracing
from be_queue.worker.role import Role
from tests.support import spans
from tests.support.spans import Spans

Traced = Callable[..., AbstractContextManager[Spans]]


@pytest.fixture(params=['jaeger', 'otlp'])
def traced(
    request: pytest.FixtureRequest,
    configured: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> Traced:
    """Return a context manager: traces with these settings, and yields the spans that arrive.

    At its end all spans have arrived.
    """
    exporter = request.param
    monkeypatch.setattr(tracing, 'STOP_SECONDS', 30)
    # A platform that is not installed.
    monkeypatch.setenv('OTEL_PROPAGATORS', 'another')

    @contextmanager
    def trace(**variables: str) -> Iterator[Spans]:
        server = spans.agent if exporter == 'jaeger' else spans.collector
        with server() as received, spans.global_tracer(Tracer()):
            config = configured(
                TRACING_EXPORTER=exporter,
                JAEGER_AGENT_HOST='localhost',
                JAEGER_AGENT_PORT=str(received.port),
                OTEL_EXPORTER_OTLP_ENDPOINT=received.url,
                **variables,
            )
            tracing.start(config, Role.POOL)
            try:
                yield received
            finally:
                last = tracing.tracer().start_span('last', ignore_active_span=True)
                last.set_tag('sampling.priority', 1)
                last.finish()
                tracing.stop()
            if exporter == 'jaeger':
                received.wait('last')

    return trace
