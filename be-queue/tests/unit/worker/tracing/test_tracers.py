"""Secrets on spans, the choice of traces, and ends of processes whose last spans cannot be sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import opentracing
import pytest
from billiard import current_process

from app.config.configuration import Config
from be_queue.testing.waiting import wait_until
from be_queue.tracing import W3C, in_both_forms
from be_queue.worker import redaction, tracing
from be_queue.worker.role import Role
from be_queue.worker.tracing import spans, tracer
from be_queue.worker.tracing.jaeger import BATCH_SIZE
from tests.support.spans import collector, global_tracer
from tests.unit.worker.tracing.conftest import Traced
from tests.unit.worker.tracing.test_spans import task

SECRET = 'Tr0ub4dor-and-3'


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(redaction, '_later', {})
    monkeypatch.setattr(redaction, '_known', redaction._known)
    redaction.add(SECRET)
    return SECRET


def test_no_secret_is_on_a_span(traced: Traced, secret: str) -> None:
    def fail() -> None:
        with tracer().start_active_span(f'own {secret}') as scope:
            scope.span.set_tag('url', f'https://user:{secret}@host')
            scope.span.set_tag('long', secret * 10_000)
            scope.span.log_kv({'event': secret, 'given': secret})
            raise ValueError(f'refused: {secret}')

    with traced() as received:
        failing, gone = task(), task(id='gone', time_start=time.time())
        spans.started(failing)
        try:
            fail()
        except ValueError as error:
            spans.failed(failing, error)
        spans.ended(failing, 'FAILURE')
        spans.lost(gone, ValueError(secret))
    (ran,), (lost,) = received.of('an-id'), received.of('gone')
    own = received.wait('own ***')
    assert ran.logs[0]['message'] == 'refused: ***'
    assert lost.logs[0]['message'] == '***'
    assert any('refused: ***' in str(log) for log in own.logs)
    # Masked before it was cut.
    assert len(own.tags['long']) < 20_000
    parts = [secret[n : n + 4].encode() for n in range(len(secret) - 3)]
    assert not any(part in message for message in received.messages for part in parts)


def test_a_file_name_that_is_not_utf_8_is_sent(traced: Traced) -> None:
    with traced() as received:
        tracer().start_span('caf\udce9', tags={'caf\udce9': 'caf\udce9'}).finish()
    assert received.wait('caf\\udce9').tags['caf\\udce9'] == 'caf\\udce9'


def sampled(count: int) -> int:
    """Return how many of so many new traces are sampled."""
    return sum(context(tracer().start_span('root'))[W3C].endswith('1') for _ in range(count))


def context(span: opentracing.Span) -> dict[str, str]:
    headers: dict[str, str] = {}
    span.tracer.inject(span.context, opentracing.Format.TEXT_MAP, headers)
    return in_both_forms(headers)


@pytest.mark.parametrize(
    ('kind', 'param', 'least', 'most'),
    [
        ('const', '1', 2_000, 2_000),
        ('const', '0', 0, 0),
        # Some nine standard deviations around 500.
        ('probabilistic', '0.25', 320, 680),
    ],
)
def test_a_share_of_the_traces_is_sampled(
    traced: Traced, kind: str, param: str, least: int, most: int
) -> None:
    with traced(JAEGER_SAMPLER_TYPE=kind, JAEGER_SAMPLER_PARAM=param):
        assert least <= sampled(2_000) <= most


def test_ratelimiting_samples_no_more_than_a_seconds_worth_at_once(traced: Traced) -> None:
    with traced(JAEGER_SAMPLER_TYPE='ratelimiting', JAEGER_SAMPLER_PARAM='20'):
        begin = time.monotonic()
        at_once = sampled(1_000)
        assert at_once <= 20 * (1 + time.monotonic() - begin)
        wait_until(lambda: sampled(1), 'another is sampled later')


@pytest.mark.parametrize('kind', ['const', 'probabilistic', 'ratelimiting'])
def test_what_the_sender_chose_holds(traced: Traced, kind: str) -> None:
    with traced(JAEGER_SAMPLER_TYPE=kind, JAEGER_SAMPLER_PARAM='0'):
        for flags in ('00', '01'):
            headers = in_both_forms({W3C: f'00-{1:032x}-{2:016x}-{flags}'})
            parent = tracer().extract(opentracing.Format.TEXT_MAP, headers)
            child = context(tracer().start_span('child', child_of=parent))[W3C]
            assert (child[:36], child[-3:]) == (f'00-{1:032x}-', f'-{flags}')


def test_the_end_of_a_process_waits_neither_for_a_collector_nor_for_a_name_to_resolve(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, 'STOP_SECONDS', 0.01)
    with collector() as received, global_tracer(opentracing.Tracer()):
        received.delay = 60
        config = configured(TRACING_EXPORTER='otlp', OTEL_EXPORTER_OTLP_ENDPOINT=received.url)
        tracing.start(config, Role.POOL)
        tracer().start_span('last').finish()
        tracing.stop()
        assert [t for t in threading.enumerate() if t.name.startswith('OtelBatchSpan')]

        resolved = threading.Event()
        config = configured(TRACING_EXPORTER='jaeger', JAEGER_AGENT_HOST='127.0.0.1')
        tracing.start(config, Role.POOL)
        tracer().reporter.io_loop.add_callback(resolved.wait, 60)
        tracer().start_span('last').finish()
        tracing.stop()
        assert not resolved.is_set()
        resolved.set()


@pytest.mark.parametrize(('slot', 'lines'), [(0, 1), (1, 0)])
def test_an_agent_whose_name_does_not_resolve_costs_one_line_in_one_process(
    configured: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    slot: int,
    lines: int,
) -> None:
    monkeypatch.setattr(current_process(), 'index', slot, raising=False)
    monkeypatch.setattr(tracing, 'STOP_SECONDS', 60)
    with global_tracer(opentracing.Tracer()):
        tracing.start(configured(JAEGER_AGENT_HOST='jaeger.invalid'), Role.POOL)
        for _ in range(2 * BATCH_SIZE):
            tracer().start_span('lost').finish()
        tracing.stop()
    found = [line for line in caplog.messages if 'Jaeger agent' in line]
    assert len(found) == lines
    assert all('check JAEGER_AGENT_HOST' in line for line in found)
