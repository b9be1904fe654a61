"""The spans of a task, as they come at an agent and at a collector."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.task import Context

from be_queue.tracing import SENT_AT, W3C
from be_queue.worker.tracing import spans, tracer
from tests.unit.worker.tracing.conftest import Traced

SENDER = f'00-{10:032x}-{11:016x}-01'


def task(name: str = 'add', **given: Any) -> Any:
    """Return a task as Celery's signals have it, with a request that has these headers."""
    about = {'id': 'an-id', 'delivery_info': {'routing_key': 'a-queue'}, 'retries': 0}
    return SimpleNamespace(name=name, request=Context(about | given))


def from_sqs(sent_at: float) -> dict[str, Any]:
    """Return the properties of a message that SQS got at a time."""
    attributes = {'SentTimestamp': str(int(sent_at * 1000))}
    return {'properties': {'delivery_info': {'sqs_message': {'Attributes': attributes}}}}


def run(task: Any, state: str = 'SUCCESS') -> None:
    spans.started(task)
    spans.ended(task, state)


def test_a_task_waits_from_its_sending_and_then_runs(traced: Traced) -> None:
    sent_at = time.time() - 60
    with traced() as received:
        run(task(**{W3C: SENDER, SENT_AT: sent_at, **from_sqs(5)}))
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


def test_the_wait_needs_a_time_of_sending_and_no_trace(traced: Traced) -> None:
    now = time.time()
    with traced() as received:
        run(task(id='untraced', **{SENT_AT: 'yesterday', **from_sqs(now - 60)}))
        run(task(id='ahead', **{W3C: SENDER, SENT_AT: now + 60}))
        run(task(id='timeless', **{W3C: SENDER}))
        run(task(id='broken', **{W3C: 'broken', SENT_AT: -3}))
    wait, ran = received.of('untraced')
    assert (wait.parent, abs(wait.begin - (now - 60)) < 0.002) == (0, True)
    assert (ran.parent, ran.trace) == (wait.id, wait.trace)
    waits = [span for span in received.of('ahead') if span.name == 'wait add']
    assert [span.begin < now + 60 for span in waits] == [True]
    (timeless,), (broken,) = received.of('timeless'), received.of('broken')
    assert (timeless.trace, timeless.parent, broken.parent) == (10, 11, 0)


@pytest.mark.parametrize('sampled', [1, 0])
def test_the_request_has_the_traces_id_sampled_or_not(traced: Traced, sampled: int) -> None:
    sent, unsent = task(**{W3C: SENDER}), task(id='other')
    with traced(JAEGER_SAMPLER_PARAM=str(sampled)) as received:
        run(sent)
        run(unsent)
    assert sent.request.trace_id == f'{10:032x}'
    # All of W3C's 128 bits.
    trace_id = int(unsent.request.trace_id, 16)
    assert trace_id >= 2**64
    assert [span.trace for span in received.of('other')] == [trace_id] * sampled


def test_spans_of_a_task_s_own_are_below_its_run_even_when_it_leaves_one_open(
    traced: Traced,
) -> None:
    with traced() as received:
        for task_id in ('first', 'second'):
            outer = task(id=task_id)
            spans.started(outer)
            with tracer().start_active_span(f'own of {task_id}'):
                pass
            # Called in the midst of it.
            run(task(id=f'eager of {task_id}', is_eager=True, **{W3C: SENDER, SENT_AT: 1.0}))
            tracer().start_active_span('left')
            spans.ended(outer, 'SUCCESS')
    for task_id in ('first', 'second'):
        (ran,), (eager,) = received.of(task_id), received.of(f'eager of {task_id}')
        for span in (received.wait(f'own of {task_id}'), eager):
            assert (span.trace, span.parent) == (ran.trace, ran.id)


def test_a_failed_run_has_the_error_and_its_stack(traced: Traced) -> None:
    failing, refused = task(retries=2), task(id='refused')
    with traced() as received:
        spans.started(failing)
        try:
            raise ConnectionError('nobody there')
        except ConnectionError as error:
            spans.failed(failing, error)
        spans.ended(failing, 'FAILURE')
        spans.started(refused)
        try:
            raise TypeError('cannot be stored')
        except TypeError:
            spans.ended(refused, None)  # by Celery, around the task
        spans.failed(failing, ValueError('nothing runs'))
        spans.ended(failing, 'SUCCESS')
    (ran,), (unstored,) = received.of('an-id'), received.of('refused')
    assert (ran.tags['error'], ran.tags['celery.state']) == (True, 'FAILURE')
    assert ran.tags['celery.attempt'] == 3
    (log,) = ran.logs
    assert (log['event'], log['error.kind']) == ('error', 'ConnectionError')
    assert log['message'] == 'nobody there'
    assert "raise ConnectionError('nobody there')" in log['stack']
    assert (ran.kind, ran.status) in {('', ''), ('CONSUMER', 'ERROR')}
    assert unstored.tags['celery.state'] == 'FAILURE'
    assert unstored.logs[0]['error.kind'] == 'TypeError'
