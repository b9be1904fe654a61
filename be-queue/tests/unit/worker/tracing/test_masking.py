"""Secrets on spans."""

from __future__ import annotations

import time

import pytest

from be_queue.worker import redaction
from tests.unit.worker.tracing.conftest import Traced
from tests.unit.worker.tracing.test_spans import request

SECRET = 'Tr0ub4dor-and-3'


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(redaction, '_later', {})
    monkeypatch.setattr(redaction, '_known', redaction._known)
    redaction.add(SECRET)
    return SECRET


def test_no_secret_is_on_a_span(traced: Traced, secret: str) -> None:
    from be_queue.worker.tracing import spans, tracer

    def fail() -> None:
        with tracer().start_active_span(f'own {secret}') as scope:
            scope.span.set_tag('url', f'https://user:{secret}@host')
            scope.span.log_kv({'event': secret, 'given': secret})
            raise ValueError(f'refused: {secret}')

    with traced() as (_, received):
        task = request()
        spans.started('add', task)
        try:
            fail()
        except ValueError as error:
            spans.failed(task, error)
        spans.ended(task, 'FAILURE')
        spans.lost('add', {'id': 'lost'}, time.time(), ValueError(secret))
    (ran,), (lost,) = received.of('an-id'), received.of('lost')
    own = received.wait('own ***')
    assert ran.logs[0]['message'] == 'refused: ***'
    assert lost.logs[0]['message'] == '***'
    assert any('refused: ***' in str(log) for log in own.logs)
    assert secret not in str(received.received)
    assert all(secret.encode() not in message for message in received.messages)


def test_a_secret_is_masked_before_a_text_is_cut(traced: Traced, secret: str) -> None:
    from be_queue.worker.tracing import tracer

    with traced() as (_, received):
        tracer().start_span('own', tags={'text': secret * 10_000}).finish()
    text = received.wait('own').tags['text']
    assert len(text) < 20_000
    assert not any(secret[n : n + 4] in text for n in range(len(secret) - 3))


def test_a_file_name_that_is_not_utf_8_is_sent(traced: Traced) -> None:
    from be_queue.worker.tracing import tracer

    with traced() as (_, received):
        tracer().start_span('caf\udce9', tags={'caf\udce9': 'caf\udce9'}).finish()
    assert received.wait('caf\\udce9').tags['caf\\udce9'] == 'caf\\udce9'
