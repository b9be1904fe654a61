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


class Gate:
    """Sends nothing before it is opened."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()
        self.sent: list[int] = []

    def __call__(self, batch: list[int]) -> None:
        self.begun.set()
        assert self.opened.wait(30)
        self.sent.extend(batch)


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
    gate = Gate()
    outbox = Outbox(gate, nothing, None)
    outbox.put(-1)
    assert gate.begun.wait(30)
    for n in range(3 * MOST):
        outbox.put(n)
    outbox.stop(0.01)
    assert not gate.opened.is_set()
    gate.opened.set()
    outbox.stop(30)
    assert gate.sent == [-1, *range(2 * MOST, 3 * MOST)]


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


def test_what_falls_out_of_a_full_outbox_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    outbox = Outbox(gate, nothing, None)
    for outage in (1, 2):
        outbox.put(-1)
        assert gate.begun.wait(30)
        for n in range(MOST + 7 * outage):
            outbox.put(n)
        gate.opened.set()
        wait_until(lambda outage=outage: len(caplog.messages) == 2 * outage, 'it is over')
        full, over = caplog.messages[-2:]
        assert f'the oldest are dropped: waiting={MOST}' in full
        assert 'JAEGER_SAMPLER_PARAM' in full
        assert over.endswith(f'dropped={7 * outage}')
        gate.begun.clear()
        gate.opened.clear()
    gate.opened.set()
    outbox.stop(30)
    assert len(gate.sent) == 2 * (MOST + 1)


def test_what_falls_out_in_an_outage_is_said_once_and_counted_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()

    def send(batch: list[int]) -> None:
        gate(batch)
        raise ConnectionError('nobody there')

    def lines() -> list[str]:
        return [line for line in caplog.messages if 'dropped' in line]

    outbox = Outbox(send, nothing, Outage('the agent', max_wait=0.001))
    outbox.put(-1)
    assert gate.begun.wait(30)
    for n in range(MOST + 7):
        outbox.put(n)
    gate.opened.set()
    wait_until(lambda: len(gate.sent) == 1 + MOST, 'all are tried')
    assert len(lines()) == 1
    outbox.stop(30)
    assert [line.rpartition(': ')[2] for line in lines()[1:]] == ['dropped=7']


def test_a_thread_that_cannot_start_costs_no_error_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr('app.utils.tracing.outbox.THREAD_PAUSE', 0.0)
    sent: list[int] = []
    outbox = Outbox(sent.extend, nothing, None)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, 'start', refuse)
        for n in range(3):
            outbox.put(n)
        Outbox(sent.extend, nothing, None).stop(30)
    (line, _) = caplog.messages
    assert 'spans wait for a thread' in line
    outbox.put(3)
    wait_until(lambda: sent == [0, 1, 2, 3], 'all are sent')
    outbox.stop(30)


def test_a_thread_that_cannot_start_is_not_asked_for_with_each_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        asked.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr('app.utils.tracing.outbox.THREAD_PAUSE', 600.0)
    monkeypatch.setattr(threading.Thread, 'start', refuse)
    outbox = Outbox(lambda _: None, nothing, None)
    for n in range(3):
        outbox.put(n)
    assert len(asked) == 1
