"""Spans of what is sent, and their context in the messages, on a real SQS server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from jaeger_client.reporter import InMemoryReporter
from jaeger_client.sampler import ConstSampler
from jaeger_client.tracer import Tracer

from be_queue import send_batch
from be_queue.tracing import JAEGER, SENT_AT, W3C, in_both_forms, trace_sends
from tests.integration.scene import Scene
from tests.support.faulty import FaultySqs, status
from tests.support.spans import global_tracer

PLATFORM = 'platform.fifo'


class Traced:
    """An app whose sends are traced, and what it has reported."""

    def __init__(self, scene: Scene, url: str = '') -> None:
        self.scene = scene
        self.app: Celery = scene.app(url)
        self.reporter = InMemoryReporter()
        self.tracer = Tracer('tests', self.reporter, ConstSampler(True), tags={'ip': '127.0.0.1'})
        trace_sends(self.app)

    @property
    def spans(self) -> list[Any]:
        return self.reporter.get_spans()

    def received(self, queue: str, count: int = 1) -> list[dict[str, Any]]:
        """Take messages from a queue; return what is in their envelopes."""
        url, found = self.scene.url(queue), []
        while len(found) < count:
            answer = self.scene.client.receive_message(
                QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10
            )
            found += [envelope(message['Body']) for message in answer['Messages']]
        return found


def envelope(body: str) -> dict[str, Any]:
    text = body if body.startswith('{') else base64.b64decode(body).decode()
    opened: dict[str, Any] = json.loads(text)
    return opened


def tags(span: Any) -> dict[str, Any]:
    return {
        tag.key: next(v for v in (tag.vStr, tag.vBool, tag.vLong) if v is not None)
        for tag in span.tags
    }


def header_of(span: Any) -> dict[str, str]:
    return in_both_forms({JAEGER: f'{span.trace_id:x}:{span.span_id:x}:0:{span.flags:x}'})


@pytest.fixture
def traced(scene: Scene) -> Iterator[Traced]:
    traced = Traced(scene)
    with global_tracer(traced.tracer):
        yield traced


def test_a_send_is_a_span_and_its_context_is_in_every_copy(traced: Traced) -> None:
    result = traced.app.send_task('work', (1,))
    (span,) = traced.spans
    assert span.operation_name == 'send work'
    assert {
        'span.kind': 'producer',
        'component': 'celery',
        'message_bus.destination': traced.scene.work,
        'peer.service': 'sqs',
        'celery.task_name': 'work',
        'celery.task_id': result.id,
        'celery.attempt': 1,
    }.items() <= tags(span).items()
    assert 'test:test' not in tags(span)['peer.address']
    for queue in (traced.scene.work, f'{traced.scene.prefix}-local-{PLATFORM}'):
        (message,) = traced.received(queue)
        headers = message['headers']
        assert headers['id'] == result.id
        assert {name: headers[name] for name in (JAEGER, W3C)} == header_of(span)
        assert span.start_time <= headers[SENT_AT] <= span.end_time


def test_a_send_continues_the_active_span_or_a_context_that_is_given(traced: Traced) -> None:
    with traced.tracer.start_active_span('order') as scope:
        traced.app.send_task('work', countdown=60)
    traced.app.conf.task_protocol = 1
    given = f'00-{10:032x}-{11:016x}-01'
    traced.app.send_task('work', headers={W3C: given, 'mine': 'kept'})
    sent, order, continued = traced.spans
    assert (sent.parent_id, sent.trace_id) == (scope.span.span_id, order.trace_id)
    assert '+00:00' in tags(sent)['celery.eta']
    assert (continued.trace_id, continued.parent_id) == (10, 11)
    (message,) = traced.received(traced.scene.work)
    assert message['headers'][W3C] == header_of(continued)[W3C]
    assert message['headers']['mine'] == 'kept'


def test_each_task_of_a_batch_has_a_span_of_its_own(traced: Traced) -> None:
    with traced.tracer.start_active_span('batch'):
        outcomes = send_batch(traced.app, [traced.app.signature('work') for _ in range(25)])
    by_task = {tags(span).get('celery.task_id'): span for span in traced.spans}
    messages = traced.received(traced.scene.work, 25)
    assert {o.result.id for o in outcomes} == {m['headers']['id'] for m in messages}
    for message in messages:
        headers = message['headers']
        assert headers[W3C] == header_of(by_task[headers['id']])[W3C]


def test_a_send_that_fails_is_one_span_with_the_error_masked_as_the_last_call_says(
    scene: Scene, proxy: FaultySqs
) -> None:
    scene.make_both()
    proxy.fail('SendMessage', status(403, 'AccessDenied'))
    traced = Traced(scene, proxy.url)
    trace_sends(traced.app, lambda text: text.replace('Denied', '***'))
    with global_tracer(traced.tracer), pytest.raises(Exception, match='AccessDenied'):
        traced.app.send_task('work', retry=False)
    (span,) = traced.spans
    assert tags(span)['error'] is True
    (log,) = span.logs
    assert 'Access***' in {f.key: f.vStr for f in log.fields}['message']
    assert 'AccessDenied' not in str(log)


def test_without_a_tracer_nothing_is_added_to_a_message(scene: Scene) -> None:
    traced = Traced(scene)
    traced.app.send_task('work')
    (message,) = traced.received(scene.work)
    assert not {JAEGER, SENT_AT, W3C} & message['headers'].keys()
    assert traced.spans == []
