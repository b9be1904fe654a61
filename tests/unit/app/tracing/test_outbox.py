"""Spans that wait to be sent."""

from __future__ import annotations

import logging
import threading

import pytest

from app.utils.tracing.outbox import BATCH, MOST, Outbox
from be_queue.outage import Outage
from tests.support.waiting import wait_until


def nothing() -> None:
    pass


def test_all_are_sent_in_their_order_and_in_batches() -> None:
    batches: list[list[int]] = []
    outbox = Outbox(batches.append, nothing, None)
    for n in range(MOST):
        outbox.put(n)
    outbox.stop(30)
    assert [n for batch in batches for n in batch] == list(range(MOST))
    assert max(len(batch) for batch in batches) <= BATCH


def test_what_is_put_is_sent_without_a_stop() -> None:
    sent: list[int] = []
    outbox = Outbox(sent.extend, nothing, None)
    for n in range(3):
        outbox.put(n)
        wait_until(lambda n=n: sent[-1:] == [n], 'it is sent')
    outbox.stop(30)


def test_while_sending_hangs_a_bounded_number_waits_and_the_end_does_not() -> None:
    begun, going_on = threading.Event(), threading.Event()
    sent: list[int] = []

    def send(batch: list[int]) -> None:
        begun.set()
        assert going_on.wait(30)
        sent.extend(batch)

    outbox = Outbox(send, nothing, None)
    outbox.put(-1)
    assert begun.wait(30)
    for n in range(3 * MOST):
        outbox.put(n)
    outbox.stop(0.01)
    assert not going_on.is_set()
    going_on.set()
    outbox.stop(30)
    assert sent == [-1, *range(2 * MOST, 3 * MOST)]


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tries: list[list[int]] = []

    def send(batch: list[int]) -> None:
        tries.append(batch)
        if len(tries) < 3:
            raise ConnectionError('nobody there')

    outbox = Outbox(send, nothing, Outage('the agent', max_wait=0.01, hint='AGENT_HOST'))
    for n in range(3):
        outbox.put(n)
        wait_until(lambda n=n: len(tries) == n + 1, 'it is tried')
    outbox.stop(30)
    away, back = (record.getMessage() for record in caplog.records)
    assert 'the agent is away' in away
    assert 'nobody there' in away
    assert 'check AGENT_HOST' in away
    assert 'the agent is back' in back
