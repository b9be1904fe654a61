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
from be_queue.tracing import JAEGER, W3C, in_both_forms, mark_failed, trace_sends

TRACES = st.integers(1, 2**128 - 1)
SPANS = st.integers(1, 2**64 - 1)


class Recorded:
    """A span that keeps what is put on it."""

    def __init__(self) -> None:
        self.tags: dict[str, Any] = {}
        self.logs: list[dict[str, Any]] = []

    def set_tag(self, key: str, value: Any) -> None:
        self.tags[key] = value

    def log_kv(self, fields: dict[str, Any]) -> None:
        self.logs.append(fields)


@given(TRACES, SPANS, st.booleans())
def test_what_jaegers_client_writes_opentelemetry_reads(
    trace_id: int, span_id: int, sampled: bool
) -> None:
    written: dict[str, str] = {}
    TextCodec().inject(SpanContext(trace_id, span_id, None, int(sampled)), written)
    found = trace.get_current_span(
        TraceContextTextMapPropagator().extract(in_both_forms(written))
    ).get_span_context()
    assert (found.trace_id, found.span_id) == (trace_id, span_id)
    assert found.trace_flags.sampled == sampled


@given(TRACES, SPANS, st.booleans())
def test_what_opentelemetry_writes_jaegers_client_reads(
    trace_id: int, span_id: int, sampled: bool
) -> None:
    written: dict[str, str] = {}
    context = trace.SpanContext(trace_id, span_id, False, trace.TraceFlags(sampled))
    span = trace.set_span_in_context(trace.NonRecordingSpan(context))
    TraceContextTextMapPropagator().inject(written, span)
    found = TextCodec().extract(in_both_forms(written))
    assert (found.trace_id, found.span_id, found.flags) == (trace_id, span_id, sampled)


@pytest.mark.parametrize(
    'headers',
    [
        {},
        {JAEGER: None, W3C: 5},
        {JAEGER: ''},
        {JAEGER: '0:1:0:1'},
        {JAEGER: '1:0:0:1'},
        {JAEGER: '1:2:3'},
        {JAEGER: f'{2**128:x}:1:0:1'},
        {JAEGER: 'x:1:0:1'},
        {W3C: '00-0-0-01'},
        {W3C: f'00-{0:032x}-{1:016x}-01'},
        {W3C: f'00-{1:032x}-{1:016x}-01-'.upper() + '\n'},
    ],
)
def test_a_context_that_cannot_be_read_is_none(headers: dict[str, Any]) -> None:
    assert in_both_forms(headers) == {}


def test_of_two_contexts_a_broken_one_does_not_count() -> None:
    headers = {JAEGER: 'broken', W3C: f'00-{10:032x}-{11:016x}-01'}
    assert in_both_forms(headers)[JAEGER] == 'a:b:0:1'


def test_an_error_on_a_span_has_its_kind_its_message_and_its_stack() -> None:
    span = Recorded()
    try:
        raise ValueError('too much')
    except ValueError as error:
        mark_failed(span, error)
    (log,) = span.logs
    stack = log.pop('stack')
    assert span.tags == {'error': True}
    assert log == {
        'event': 'error',
        'error.kind': 'ValueError',
        'error.object': "ValueError('too much')",
        'message': 'too much',
    }
    assert stack.startswith('Traceback')
    assert "raise ValueError('too much')" in stack


@pytest.mark.parametrize('flags', ['00', '01', '02', '03'])
def test_of_w3cs_flags_only_sampled_goes_on(flags: str) -> None:
    # Its second says that the id is random; Jaeger's second says debug.
    both = in_both_forms({W3C: f'00-{10:032x}-{11:016x}-{flags}'})
    assert both[JAEGER] == f'a:b:0:{flags in ("01", "03"):x}'


@pytest.mark.parametrize(('flags', 'sampled'), [('2', 0), ('3', 1)])
def test_jaegers_debug_flag_goes_on_in_jaegers_form_alone(flags: str, sampled: int) -> None:
    both = in_both_forms({JAEGER: f'a:b:0:{flags}'})
    assert both == {JAEGER: f'a:b:0:{flags}', W3C: f'00-{10:032x}-{11:016x}-0{sampled}'}


def test_an_error_on_a_span_is_masked_before_it_is_cut() -> None:
    secret = 'Tr0ub4dor-and-3'
    span = Recorded()
    # Wherever the middle is left out, it is out of a secret.
    error = ValueError(secret * 1_000)
    try:
        raise error
    except ValueError:
        mark_failed(span, error, lambda text: text.replace(secret, '***'))
    (log,) = span.logs
    assert set(log['message']) <= set('*\n[.]')
    assert log['error.object'].startswith("ValueError('***")
    assert 'ValueError: ***' in log['stack']
    assert not any(secret[n : n + 4] in repr(log) for n in range(len(secret) - 3))


def test_an_error_on_a_span_can_be_encoded() -> None:
    span = Recorded()
    mark_failed(span, FileNotFoundError('no file caf\udce9.txt'))
    assert span.logs[0]['message'] == 'no file caf\\udce9.txt'
    assert repr(span.logs).encode()


def test_an_error_on_a_span_is_bounded_and_keeps_its_beginning_and_its_end() -> None:
    span = Recorded()
    mark_failed(span, ValueError(f'begin{"x" * 1_000_000}end'))
    (log,) = span.logs
    assert log['message'].startswith('begin')
    assert log['message'].endswith('end')
    assert sum(len(text) for text in log.values()) < 11_000


def test_an_error_on_a_span_has_no_password() -> None:
    span = Recorded()
    try:
        raise ConnectionError('cannot reach https://user:hunter2@host/path')
    except ConnectionError as error:
        mark_failed(span, error)
    (log,) = span.logs
    assert 'https://user:***@host' in log['message']
    assert 'hunter2' not in repr(log)


def test_an_error_that_cannot_be_shown_is_on_the_span_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError('no')

        __repr__ = __str__

    span = Recorded()
    mark_failed(span, BrokenError())
    assert span.logs[0]['error.kind'] == 'BrokenError'


def test_without_opentracing_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'opentracing', None)
    with pytest.raises(SettingError, match='pip install opentracing'):
        trace_sends(Celery(set_as_current=False))
