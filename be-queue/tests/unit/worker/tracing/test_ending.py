"""The end of a process whose last spans cannot be sent."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from opentracing import Tracer

from app.config.configuration import Config
from be_queue.worker import tracing
from be_queue.worker.role import Role
from tests.support import spans


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, 'STOP_SECONDS', 0.01)


def test_it_does_not_wait_for_a_collector_that_hangs(configured: Callable[..., Config]) -> None:
    with spans.collector() as received, spans.global_tracer(Tracer()):
        received.delay = 60
        config = configured(TRACING_EXPORTER='otlp', OTEL_EXPORTER_OTLP_ENDPOINT=received.url)
        tracing.start(config, Role.POOL)
        tracing.tracer().start_span('last').finish()
        tracing.stop()
        assert [t for t in threading.enumerate() if t.name.startswith('OtelBatchSpan')]


def test_it_does_not_wait_for_an_agents_name_to_resolve(configured: Callable[..., Config]) -> None:
    resolved = threading.Event()
    with spans.global_tracer(Tracer()):
        tracing.start(configured(JAEGER_AGENT_HOST='127.0.0.1'), Role.POOL)
        tracing.tracer().reporter.io_loop.add_callback(resolved.wait, 60)
        tracing.tracer().start_span('last').finish()
        tracing.stop()
        assert not resolved.is_set()
        resolved.set()
