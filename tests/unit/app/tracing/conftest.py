"""Tracers of both exporters, and what takes their spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from app.config.configuration import Config
from tests.support import spans
from tests.support.spans import Spans

Traced = Callable[..., AbstractContextManager[tuple[Any, Spans]]]


@pytest.fixture(params=['jaeger', 'otlp'])
def traced(request: pytest.FixtureRequest, configured: Callable[..., Config]) -> Traced:
    """Return a context manager: a tracer with these settings, and the spans that come.

    At its end all spans have come.
    """
    exporter = request.param

    @contextmanager
    def trace(**variables: str) -> Iterator[tuple[Any, Spans]]:
        from app.utils.tracing import jaeger, otlp

        server, start = {
            'jaeger': (spans.agent, jaeger.start),
            'otlp': (spans.collector, otlp.start),
        }[exporter]
        with server() as received:
            config = configured(
                TRACING_EXPORTER=exporter,
                JAEGER_AGENT_HOST='127.0.0.1',
                JAEGER_AGENT_PORT=str(received.port),
                OTEL_EXPORTER_OTLP_ENDPOINT=received.url,
                **variables,
            )
            tracer, outbox = start(config, tells=True)
            with spans.global_tracer(tracer):
                yield tracer, received
            last = tracer.start_span('last', ignore_active_span=True)
            last.set_tag('sampling.priority', 1)
            last.finish()
            outbox.stop(30)
            if exporter == 'jaeger':
                received.wait('last')

    return trace
