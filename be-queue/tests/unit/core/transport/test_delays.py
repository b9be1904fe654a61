"""How long a message has to wait, by its time."""

from __future__ import annotations

import datetime
import json
import time
import uuid
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import given
from hypothesis import strategies as st
from kombu.message import Message

from be_queue.transport import delays
from be_queue.transport.messages import BATCH_BYTES

NOW = datetime.datetime(2026, 3, 29, 0, 59, 30, tzinfo=datetime.timezone.utc).timestamp()


@pytest.mark.parametrize(
    ('eta', 'expected'),
    [
        ('2026-03-29T01:00:00.999999+00:00', 30),
        ('2026-03-29T10:00:00+09:00', 30),
        ('2026-03-30', 900),
        ('9999-12-31T23:59:59.999999-12:00', 900),
        # Due within a second, or left to Celery to refuse.
        *((eta, 0) for eta in ('2026-03-29T00:59:30.999', '0001-01-01T00:00:00+14:00')),
        *((eta, 0) for eta in (None, '', 'soon', 30, 1e18, [1])),
    ],
)
def test_a_delay_is_the_seconds_until_the_time_up_to_what_sqs_takes(
    monkeypatch: pytest.MonkeyPatch, eta: Any, expected: int
) -> None:
    monkeypatch.setattr(time, 'time', lambda: NOW)
    assert delays.delay_seconds({'headers': {'eta': eta}}) == expected
    assert delays.delay_seconds({'headers': [eta]}) == 0


@pytest.mark.parametrize('enable_utc', [True, False])
@pytest.mark.parametrize('eta', ['2026-03-29T01:00:00', '2026-03-29T03:00:00+02:00'])
def test_the_time_is_the_one_that_celery_reads(eta: str, enable_utc: bool) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(timezone='Asia/Tokyo', enable_utc=enable_utc)

    @app.task(name='add')
    def add() -> None:
        pass

    headers = {'id': str(uuid.uuid4()), 'task': 'add', 'eta': eta}
    coding = {'content_type': 'application/json', 'content_encoding': 'utf-8'}
    received = Message(json.dumps([[], {}, {}]), headers=headers, **coding)
    request = Request(received, app=app, task=add)
    assert delays.seconds_left({'headers': headers}, NOW) == request.eta.timestamp() - NOW


@given(st.lists(st.integers(0, 300_000), max_size=40))
def test_requests_with_copies_keep_to_the_limits_of_sqs(sizes: list[int]) -> None:
    waiting = [delays.Waiting({'Body': 'x' * size, 'ReceiptHandle': 'r'}, {}, {}) for size in sizes]
    batches = delays.batches(waiting)
    assert [each for messages, _ in batches for each in messages] == waiting
    for messages, entries in batches:
        assert 1 <= len(messages) == len(entries) <= 10
        total = sum(len(entry['MessageBody']) for entry in entries)
        assert len(entries) == 1 or total <= BATCH_BYTES
