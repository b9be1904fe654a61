"""The context of a trace in headers, and errors on spans."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from jaeger_client.codecs import TextCodec
from jaeger_client.span_context import SpanContext
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from be_queue import SettingError
from be_queue.tracing import JAEGER, W3C, Mask, in_both_forms, mark_failed, trace_sends

PROPAGATOR = TraceContextTextMapPropagator()


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_jaegers_client_and_opentelemetry_read_each_other(
    trace_id: int, span_id: int, sampled: bool
) -> None:
    jaeger: dict[str, str] = {}
    TextCodec().inject(SpanContext(trace_id, span_id, None, int(sampled)), jaeger)
    read = trace.get_current_span(PROPAGATOR.extract(in_both_forms(jaeger))).get_span_context()
    assert (read.trace_id, read.span_id, read.trace_flags) == (trace_id, span_id, sampled)

    w3c: dict[str, str] = {}
    context = trace.SpanContext(trace_id, span_id, False, trace.TraceFlags(sampled))
    PROPAGATOR.inject(w3c, trace.set_span_in_context(trace.NonRecordingSpan(context)))
    found = TextCodec().extract(in_both_forms(w3c))
    assert (found.trace_id, found.span_id, found.flags) == (trace_id, span_id, sampled)


@pytest.mark.parametrize(
    'headers',
    [
        {},
        {JAEGER: None, W3C: 5},
        {JAEGER: '0:1:0:1'},
        {JAEGER: '1:0:0:1'},
        {JAEGER: '1:2:3'},
        {JAEGER: f'{2**128:x}:1:0:1'},
        {JAEGER: 'x:1:0:1'},
        {W3C: f'00-{0:032x}-{1:016x}-01'},
        {W3C: f'00-{1:032x}-{1:016x}-01\n'},
    ],
)
def test_a_context_that_cannot_be_read_is_none(headers: dict[str, Any]) -> None:
    assert in_both_forms(headers) == {}


@pytest.mark.parametrize('flags', ['00', '01', '02', '03'])
def test_of_the_flags_only_sampled_goes_on_and_a_broken_context_does_not(flags: str) -> None:
    sampled = int(flags in ('01', '03'))
    w3c = f'00-{10:032x}-{11:016x}-'
    both = {JAEGER: f'a:b:0:{sampled}', W3C: f'{w3c}0{sampled}'}
    assert in_both_forms({JAEGER: 'broken', W3C: f'{w3c}{flags}'}) == both
    assert in_both_forms({JAEGER: f'a:b:0:{flags}'}) == both


class Recorded:
    """A span that keeps what is put on it."""

    def __init__(self, error: Exception, *mask: Mask) -> None:
        self.tags: dict[str, Any] = {}
        try:
            raise error
        except type(error) as raised:
            mark_failed(self, raised, *mask)

    def set_tag(self, key: str, value: Any) -> None:
        self.tags[key] = value

    def log_kv(self, fields: dict[str, Any]) -> None:
        self.log = fields


def test_an_error_on_a_span_has_its_kind_message_and_stack_without_passwords() -> None:
    span = Recorded(ConnectionError('cannot reach https://user:hunter2@host/path'))
    assert span.tags == {'error': True}
    stack = span.log.pop('stack')
    assert span.log == {
        'event': 'error',
        'error.kind': 'ConnectionError',
        'message': 'cannot reach https://user:***@host/path',
    }
    assert stack.startswith('Traceback')
    assert 'raise error' in stack
    assert 'hunter2' not in stack


def test_an_error_on_a_span_is_masked_before_it_is_cut() -> None:
    secret = 'Tr0ub4dor-and-3'
    error = ValueError(f'begin{secret * 1_000}end')
    log = Recorded(error, lambda text: text.replace(secret, '***')).log
    assert log['message'].startswith('begin***')
    assert log['message'].endswith('***end')
    assert not any(secret[n : n + 4] in repr(log) for n in range(len(secret) - 3))
    assert sum(len(text) for text in Recorded(ValueError('x' * 1_000_000)).log.values()) < 11_000


def test_an_error_that_cannot_be_shown_is_on_the_span_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError('no')

    assert Recorded(BrokenError()).log['error.kind'] == 'BrokenError'


def test_without_opentracing_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'opentracing', None)
    with pytest.raises(SettingError, match='pip install opentracing'):
        trace_sends(Celery(set_as_current=False))
