"""Of which traces spans are sent."""

from __future__ import annotations

import time
from typing import Any

import opentracing
import pytest

from be_queue.testing.waiting import wait_until
from be_queue.tracing import W3C, in_both_forms
from tests.unit.worker.tracing.conftest import Traced


def sampled(tracer: Any, count: int) -> int:
    """Return how many of so many new traces are sampled."""
    return sum(context(tracer.start_span('root'))[W3C].endswith('-01') for _ in range(count))


def context(span: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    span.tracer.inject(span.context, opentracing.Format.TEXT_MAP, headers)
    return in_both_forms(headers)


def test_by_default_every_trace_is_sampled(traced: Traced) -> None:
    with traced() as (tracer, _):
        assert sampled(tracer, 100) == 100


def test_const_0_samples_none(traced: Traced) -> None:
    with traced(JAEGER_SAMPLER_TYPE='const', JAEGER_SAMPLER_PARAM='0') as (tracer, _):
        assert sampled(tracer, 100) == 0


def test_probabilistic_samples_a_share(traced: Traced) -> None:
    variables = {'JAEGER_SAMPLER_TYPE': 'probabilistic', 'JAEGER_SAMPLER_PARAM': '0.25'}
    with traced(**variables) as (tracer, _):
        # Some nine standard deviations around 500.
        assert 320 < sampled(tracer, 2_000) < 680


def test_ratelimiting_samples_no_more_than_a_seconds_worth_at_once(traced: Traced) -> None:
    variables = {'JAEGER_SAMPLER_TYPE': 'ratelimiting', 'JAEGER_SAMPLER_PARAM': '20'}
    with traced(**variables) as (tracer, _):
        begin = time.monotonic()
        at_once = sampled(tracer, 1_000)
        assert at_once <= 20 * (1 + time.monotonic() - begin)
        wait_until(lambda: sampled(tracer, 1), 'another is sampled later')


@pytest.mark.parametrize('kind', ['const', 'probabilistic', 'ratelimiting'])
def test_what_the_sender_chose_holds(traced: Traced, kind: str) -> None:
    with traced(JAEGER_SAMPLER_TYPE=kind, JAEGER_SAMPLER_PARAM='0') as (tracer, _):
        for flags in ('00', '01'):
            headers = in_both_forms({W3C: f'00-{1:032x}-{2:016x}-{flags}'})
            parent = tracer.extract(opentracing.Format.TEXT_MAP, headers)
            child = context(tracer.start_span('child', child_of=parent))
            assert child[W3C].startswith(f'00-{1:032x}-')
            assert child[W3C].endswith(f'-{flags}')
