"""What goes on spans, as it is sent."""

from __future__ import annotations

import time

import pytest

from app import known_secrets
from tests.unit.app.tracing.conftest import Traced
from tests.unit.app.tracing.test_spans import request

SECRET = 'Tr0ub4dor-and-3'


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(known_secrets, '_later', {})
    monkeypatch.setattr(known_secrets, '_known', known_secrets._known)
    known_secrets.add(SECRET)
    return SECRET


def test_no_secret_is_on_a_span(traced: Traced, secret: str) -> None:
    from app.utils.tracing import spans, tracer

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


@pytest.mark.parametrize(
    ('value', 'sent'),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, '0x8000000000000000'),
        (-(2**70), '-0x400000000000000000'),
        ('caf\udce9', 'caf\\udce9'),
        (10**5_000, hex(10**5_000)),
    ],
    ids=['largest', 'too large', 'too small', 'surrogate', 'of many digits'],
)
def test_a_tag_that_cannot_be_encoded_is_sent_as_text(
    traced: Traced, value: object, sent: object, caplog: pytest.LogCaptureFixture
) -> None:
    from app.utils.tracing import spans, tracer

    with traced() as (_, received):
        task = request()
        spans.started('add', task)
        tracer().active_span.set_tag('odd', value)
        tracer().active_span.log_kv({'odd': value})
        tracer().start_span('caf\udce9', tags={'caf\udce9': 1}).finish()
        spans.ended(task, 'SUCCESS')
    (ran,) = received.of('an-id')
    assert ran.tags['odd'] == ran.logs[0]['odd'] == sent
    assert received.wait('caf\\udce9').tags['caf\\udce9'] == 1
    assert caplog.messages == []
