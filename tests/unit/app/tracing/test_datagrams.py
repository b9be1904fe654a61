"""Spans in datagrams that an agent takes."""

from __future__ import annotations

import pytest
from jaeger_client.reporter import NullReporter
from jaeger_client.sampler import ConstSampler
from jaeger_client.span import Span
from jaeger_client.thrift import make_process
from jaeger_client.tracer import Tracer

from app.utils.tracing.datagrams import LARGEST, datagrams
from tests.support import spans as support

PROCESS = make_process('tests', {}, 1_000)


@pytest.fixture
def tracer() -> Tracer:
    # As long as a text may be, so that what is cut is cut here.
    return Tracer(
        'tests',
        NullReporter(),
        ConstSampler(True),
        max_tag_value_length=10**7,
        tags={'ip': '127.0.0.1'},
    )


def decoded(spans: list[Span]) -> list[support.Span]:
    for span in spans:
        span.finish()
    packets = list(datagrams(spans, PROCESS))
    assert all(len(packet) <= LARGEST for packet in packets)
    return [span for packet in packets for span in support.from_datagram(packet)]


def test_few_spans_go_in_one_datagram(tracer: Tracer) -> None:
    spans = [tracer.start_span(f'span-{n}') for n in range(20)]
    for span in spans:
        span.finish()
    assert len(list(datagrams(spans, PROCESS))) == 1


def test_many_spans_go_in_several_and_none_is_missing(tracer: Tracer) -> None:
    spans = [tracer.start_span(f'span-{n}', tags={'text': 'x' * 3_000}) for n in range(200)]
    assert [span.name for span in decoded(spans)] == [f'span-{n}' for n in range(200)]


def test_a_span_that_is_too_large_arrives_with_its_texts_cut(tracer: Tracer) -> None:
    span = tracer.start_span('large', tags={'small': 'kept'})
    span.log_kv({'stack': f'begin {"x" * 1_000_000} end'})
    (found,) = decoded([span])
    assert found.tags == {
        'sampler.type': 'const',
        'sampler.param': True,
        'small': 'kept',
        'cut': True,
    }
    assert found.logs[0]['stack'].startswith('begin')
    assert found.logs[0]['stack'].endswith('end')


def test_a_large_span_does_not_cut_others(tracer: Tracer) -> None:
    large = tracer.start_span('large', tags={'text': 'ü' * 100_000})
    small = tracer.start_span('small', tags={'text': 'y' * 1_000})
    by_name = {span.name: span.tags for span in decoded([small, large, small])}
    assert by_name['small']['text'] == 'y' * 1_000
    assert by_name['large']['cut'] is True


def test_a_span_with_too_many_logs_arrives_with_the_last(tracer: Tracer) -> None:
    span = tracer.start_span('n' * 200_000)
    for n in range(2_000):
        span.log_kv({'n': n, 'text': 'x' * 100})
    for n in range(2_000):
        span.set_tag(f'tag-{n}', 'x' * 100)
    (found,) = decoded([span])
    assert found.logs[-1]['n'] == 1_999
    assert found.tags['cut'] is True


def test_a_span_with_many_fields_arrives_with_as_many_as_fit(tracer: Tracer) -> None:
    span = tracer.start_span('large')
    for n in range(60):
        span.log_kv({'n': n} | {f'field-{n}': 'x' * 300 for n in range(60)})
    small = tracer.start_span('small')
    found = {each.name: each for each in decoded([span, small])}
    assert found.keys() == {'large', 'small'}
    assert found['large'].logs[-1]['n'] == 59
    assert found['large'].tags['cut'] is True
    assert sum(len(log) for log in found['large'].logs) > 100


def test_a_span_that_never_fits_takes_no_other_with_it(
    tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    process = make_process('tests', {'large': 'x' * 2 * LARGEST}, 10 * LARGEST)
    spans = [tracer.start_span(f'span-{n}') for n in range(2)]
    for span in spans:
        span.finish()
    assert list(datagrams(spans, process)) == []
    assert [record.getMessage() for record in caplog.records] == [
        f'a span cannot be sent: name=span-{n} is too large' for n in range(2)
    ]


def test_a_span_that_cannot_be_encoded_takes_no_other_with_it(
    tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    spans = [tracer.start_span(f'span-{n}') for n in range(5)]
    spans[2].set_tag('number', 2**70)
    spans[2].tags[-1].vLong = object()
    assert [span.name for span in decoded(spans)] == ['span-0', 'span-1', 'span-3', 'span-4']
    (record,) = caplog.records
    assert 'span-2' in record.getMessage()
