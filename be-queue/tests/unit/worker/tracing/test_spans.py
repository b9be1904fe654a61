"""The spans of a task, as they come at an agent and at a collector."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery.app.task import Context
from opentracing import Format

from be_queue.tracing import SENT_AT, W3C
from be_queue.worker.tracing import spans
from tests.unit.worker.tracing.conftest import Traced

SENDER = f'00-{10:032x}-{11:016x}-01'


def request(**given: Any) -> Context:
    about = {'id': 'an-id', 'delivery_info': {'routing_key': 'a-queue'}, 'retries': 0}
    return Context(about | given)


def run(task: Context, state: str | None = 'SUCCESS') -> None:
    spans.started('add', task)
    spans.ended(task, state)


def test_a_task_waits_from_its_sending_and_then_runs(traced: Traced) -> None:
    sent_at = time.time() - 60
    with traced() as (_, received):
        run(request(**{W3C: SENDER, SENT_AT: sent_at, spans.TAKEN_AT: 5.0}))
    wait, ran = received.of('an-id')
    assert (wait.name, wait.trace, wait.parent) == ('wait add', 10, 11)
    assert (ran.name, ran.trace, ran.parent) == ('run add', 10, wait.id)
    assert [span_id for _, span_id in ran.references] == [wait.id]
    assert abs(wait.begin - sent_at) < 0.001
    assert abs(wait.end - ran.begin) < 0.001
    for span in (wait, ran):
        assert {
            'span.kind': 'consumer',
            'component': 'celery',
            'message_bus.destination': 'a-queue',
            'peer.service': 'sqs',
            'celery.task_name': 'add',
            'celery.task_id': 'an-id',
            'celery.attempt': 1,
        }.items() <= span.tags.items()
        assert span.process['service.name'] == 'python-backend-worker-template'
        assert span.process['service.version'] == 'unknown'
    assert ran.tags['celery.state'] == 'SUCCESS'


def test_without_a_senders_trace_the_wait_begins_one(traced: Traced) -> None:
    with traced() as (_, received):
        run(request(**{spans.TAKEN_AT: time.time() - 60}))
    wait, ran = received.of('an-id')
    assert wait.parent == 0
    assert (ran.parent, ran.trace) == (wait.id, wait.trace)


def test_without_a_time_of_sending_there_is_no_wait(traced: Traced) -> None:
    with traced() as (_, received):
        run(request(id='sent', **{W3C: SENDER}))
        run(request(id='broken', **{W3C: 'broken', SENT_AT: 'never'}))
    (sent,), (broken,) = received.of('sent'), received.of('broken')
    assert (sent.trace, sent.parent, broken.parent) == (10, 11, 0)


def test_the_request_has_the_traces_id_sampled_or_not(traced: Traced) -> None:
    for param in ('1', '0'):
        with traced(JAEGER_SAMPLER_PARAM=param) as (_, received):
            sent, unsent = request(**{W3C: SENDER}), request(id='other')
            run(sent)
            run(unsent)
        assert sent.trace_id == f'{10:032x}'
        assert len(unsent.trace_id) == 32
        # All of W3C's 128 bits.
        assert int(unsent.trace_id, 16) >= 2**64
        assert [span.trace for span in received.of('other')] == (
            [int(unsent.trace_id, 16)] if param == '1' else []
        )


def test_a_span_of_the_tasks_own_is_a_child_of_the_run(traced: Traced) -> None:
    from be_queue.worker.tracing import tracer

    with traced() as (_, received):
        task = request()
        spans.started('add', task)
        with tracer().start_active_span('own'):
            pass
        spans.ended(task, 'SUCCESS')
        assert tracer().active_span is None
    (ran,) = received.of('an-id')
    assert received.wait('own').parent == ran.id


def test_a_task_that_is_called_within_another_is_its_child(traced: Traced) -> None:
    from be_queue.worker.tracing import tracer

    with traced() as (_, received):
        outer = request(id='outer')
        spans.started('outer', outer)
        run(request(id='inner', is_eager=True, **{W3C: SENDER, SENT_AT: 1.0}))
        assert tracer().active_span is not None
        spans.ended(outer, 'SUCCESS')
    (ran,), (inner,) = received.of('outer'), received.of('inner')
    assert (inner.parent, inner.trace) == (ran.id, ran.trace)


def test_a_failed_run_has_the_error_and_its_stack(traced: Traced) -> None:
    with traced() as (_, received):
        task = request(retries=2)
        spans.started('add', task)
        try:
            raise ConnectionError('nobody there')
        except ConnectionError as error:
            spans.failed(task, error)
        spans.ended(task, 'FAILURE')
    (ran,) = received.of('an-id')
    assert (ran.tags['error'], ran.tags['celery.state']) == (True, 'FAILURE')
    assert ran.tags['celery.attempt'] == 3
    (log,) = ran.logs
    assert (log['event'], log['error.kind']) == ('error', 'ConnectionError')
    assert log['message'] == 'nobody there'
    assert "raise ConnectionError('nobody there')" in log['stack']
    assert (ran.kind, ran.status) in {('', ''), ('CONSUMER', 'ERROR')}


def test_an_error_of_celerys_own_is_on_the_span(traced: Traced) -> None:
    with traced() as (_, received):
        task = request()
        spans.started('add', task)
        try:
            raise TypeError('cannot be stored')
        except TypeError:
            spans.ended(task, None)
    (ran,) = received.of('an-id')
    assert ran.tags['celery.state'] == 'FAILURE'
    assert ran.logs[0]['error.kind'] == 'TypeError'


def test_a_run_whose_process_is_gone_is_reported_by_another(traced: Traced) -> None:
    began = time.time() - 5
    message = {'id': 'an-id', W3C: SENDER, SENT_AT: began - 60}
    with traced() as (_, received):
        spans.lost('add', message, began, TimeoutError('too long'))
    # The wait has been sent by the process that is gone: it ended as the task began.
    (ran,) = received.of('an-id')
    assert (ran.name, ran.trace, ran.parent) == ('run add', 10, 11)
    assert abs(ran.begin - began) < 0.001
    assert ran.end - ran.begin > 4
    assert ran.logs[0]['error.kind'] == 'TimeoutError'


def test_what_ends_without_a_start_is_left_alone(traced: Traced) -> None:
    with traced() as (_, received):
        spans.failed(request(), ValueError('no span'))
        spans.ended(request(), 'SUCCESS')
    assert received.of('an-id') == []


def test_a_span_that_a_task_leaves_active_costs_neither_it_nor_the_next_its_own(
    traced: Traced,
) -> None:
    from be_queue.worker.tracing import tracer

    with traced() as (_, received):
        for task_id in ('first', 'second'):
            task = request(id=task_id)
            spans.started('add', task)
            with tracer().start_active_span(f'own of {task_id}'):
                pass
            tracer().start_active_span('left')
            spans.ended(task, 'SUCCESS')
    for task_id in ('first', 'second'):
        (ran,) = received.of(task_id)
        own = received.wait(f'own of {task_id}')
        assert (own.trace, own.parent) == (ran.trace, ran.id)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({SENT_AT: 5.5, spans.TAKEN_AT: 7}, 5.5),
        ({SENT_AT: 'yesterday', spans.TAKEN_AT: 7}, 7.0),
        ({SENT_AT: -3}, None),
        ({}, None),
        # The sender's clock is ahead.
        ({SENT_AT: 200}, 100.0),
    ],
)
def test_the_time_of_sending_is_the_senders_or_that_of_sqs(
    given: dict[str, Any], expected: float | None
) -> None:
    assert spans.sent_at(given, 100.0) == expected


@pytest.mark.parametrize('traced', ['otlp'], indirect=True)
def test_the_context_is_w3cs_whatever_propagator_is_global(traced: Traced) -> None:
    from opentelemetry import propagate
    from opentelemetry.propagators.composite import CompositePropagator

    carrier: dict[str, str] = {}
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([]))
    try:
        with traced() as (tracer, received):
            run(request(**{W3C: SENDER}))
            tracer.inject(spans.context(tracer, {W3C: SENDER}), Format.TEXT_MAP, carrier)
    finally:
        propagate.set_global_textmap(before)
    (ran,) = received.of('an-id')
    assert (ran.trace, ran.parent) == (10, 11)
    assert carrier == {W3C: SENDER}
