"""Traces through a whole worker, as a Jaeger agent and an OTLP collector receive them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from celery import Celery

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.tracing import W3C
from tests.support import spans
from tests.support.app_tasks import FAILS_WITH_SECRETS, IMPORTS, OUTLASTS_SOFT_LIMIT, TRACED
from tests.support.metrics import wait_metric
from tests.support.rejecting import TASK as REJECTS
from tests.support.spans import Span, Spans
from tests.support.worker import ROOT, Site, Worker

CLIENT = [sys.executable, '-m', 'examples.client', '--trace']
#: Of a producer with OpenTelemetry: its trace and its span.
SENDER = {W3C: f'00-{10:032x}-{11:016x}-01'}
#: Spans of the task that the task `TRACED` sends, and those above them.
OF_TRACED = ['run add', 'wait add', 'send add', 'own', f'run {TRACED}', f'wait {TRACED}']
TASKS_PER_CHILD = 5
#: The database asks for none.
PASSWORD = 'battery-staple'


@dataclass
class Traced:
    """A worker that sends spans to an agent, and what has come there."""

    site: Site
    worker: Worker
    spans: Spans
    producer: Celery


@pytest.fixture(scope='module')
def traced(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Traced]:
    site = Site(tmp_path_factory.mktemp('traced'), sqs.url, postgres.environment)
    modules = (*IMPORTS['CELERY_IMPORTS'], 'tests.support.delayed')
    with (
        spans.agent() as received,
        site.worker(
            JAEGER_AGENT_HOST='127.0.0.1',
            JAEGER_AGENT_PORT=received.port,
            RELEASE='1.2.3',
            PLATFORM_QUEUE_NAME='',
            CELERY_IMPORTS=modules,
            CELERY_WORKER_MAX_TASKS_PER_CHILD=TASKS_PER_CHILD,
            LONGEST_DELAY=1,
            RESULT_DB_PASS=PASSWORD,
        ) as worker,
    ):
        yield Traced(site, worker, received, site.producer())


def parents(received: Spans, span: Span) -> list[str]:
    """Return the names of a span and of those above it, itself first."""
    by_id = {each.id: each for each in received.received if each.trace == span.trace}
    names = [span.name]
    while span.parent in by_id:
        span = by_id[span.parent]
        names.append(span.name)
    return names


def test_one_trace_leads_from_a_producer_through_every_attempt(traced: Traced) -> None:
    agent = {'JAEGER_AGENT_HOST': '127.0.0.1', 'JAEGER_AGENT_PORT': str(traced.spans.port)}
    ended = subprocess.run(
        CLIENT,
        cwd=ROOT,
        env=traced.site.environment | agent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, '')
    printed = re.findall(r'^trace ([0-9a-f]{32})$', ended.stdout, re.MULTILINE)
    (task_id,) = re.findall(r'^retry_demo +(\S+)', ended.stdout, re.MULTILINE)

    last = traced.spans.wait_task('run retry_demo', task_id, attempt=3)
    assert [f'{last.trace:032x}'] == printed
    traced.spans.wait('client')
    once = ['run retry_demo', 'wait retry_demo', 'send retry_demo']
    wait_until(
        lambda: parents(traced.spans, last) == [*once * 3, 'client'], 'every span above it came'
    )
    for attempt in (1, 2):
        ran = traced.spans.wait_task('run retry_demo', task_id, attempt)
        sent = traced.spans.wait_task('send retry_demo', task_id, attempt + 1)
        assert sent.references == [('FOLLOWS_FROM', ran.id)]
        assert (ran.tags['error'], ran.tags['celery.state']) == (True, 'RETRY')
        (log,) = ran.logs
        assert log['message'] == f'attempt {attempt} fails on purpose, 2 do'
        assert 'in retry_demo' in log['stack']
    assert 'error' not in last.tags
    assert last.process['service.version'] == '1.2.3'

    (add_id,) = re.findall(r'^add +(\S+)', ended.stdout, re.MULTILINE)
    sent, waited, ran = (
        traced.spans.wait_task(f'{what} add', add_id) for what in ('send', 'wait', 'run')
    )
    queue = traced.site.queue('add')
    assert {span.tags['message_bus.destination'] for span in (sent, waited, ran)} == {queue}
    assert sent.begin <= waited.begin <= sent.end
    assert waited.begin <= waited.end <= ran.begin + 1e-5 <= ran.end


def test_a_task_that_sends_a_task_is_above_it(traced: Traced) -> None:
    later = traced.producer.send_task('add', (1, 1), countdown=3, headers=SENDER)
    sent = traced.producer.send_task(
        TRACED, queue=f'{traced.site.username}-local-celery', headers=SENDER
    )
    trace_id, child_id = sent.get(timeout=30)
    assert trace_id == f'{10:032x}'
    ran = traced.spans.wait_task('run add', child_id)
    traced.spans.wait_task(f'run {TRACED}', sent.id)
    wait_until(lambda: parents(traced.spans, ran) == OF_TRACED, 'every span above it came')
    # Through hops.
    assert traced.spans.wait_task('run add', later.id).trace == 10


def test_a_task_that_fails_for_good_has_the_error_without_secrets(traced: Traced) -> None:
    sent = traced.producer.send_task(
        FAILS_WITH_SECRETS, ('joe:correct-horse',), queue=f'{traced.site.username}-local-celery'
    )
    ran = traced.spans.wait_task(f'run {FAILS_WITH_SECRETS}', sent.id)
    # The sender has no traces.
    waited = traced.spans.wait_task(f'wait {FAILS_WITH_SECRETS}', sent.id)
    assert (ran.parent, waited.parent) == (waited.id, 0)
    assert (ran.tags['error'], ran.tags['celery.state']) == (True, 'FAILURE')
    (log,) = ran.logs
    assert log['error.kind'] == 'RuntimeError'
    assert "login with '***'" in log['message']
    assert 'https://joe:***@localhost' in log['stack']
    assert not [name for name in (PASSWORD, 'correct-horse') if name in str(ran)]


def test_what_the_consumer_reports_of_a_task_is_reported_once(
    traced: Traced, sqs: SqsServer
) -> None:
    queue = f'{traced.site.username}-local-celery'
    rejected = traced.producer.send_task(REJECTS, queue=queue)
    # By the consumer, after the process that ran it.
    wait_until(lambda: rejected.state == 'FAILURE', 'the message is rejected')

    errbacks, ended = traced.site.queue('slow'), {'name': 'slow', 'state': 'SUCCESS'}
    before = traced.worker.metric('tasks_finished_total', **ended)
    killed = traced.producer.send_task(
        OUTLASTS_SOFT_LIMIT,
        queue=queue,
        soft_time_limit=1,
        time_limit=2,
        headers=SENDER,
        link_error=traced.producer.signature('slow', (0.01,), immutable=True),
    )
    ran = traced.spans.wait_task(f'run {OUTLASTS_SOFT_LIMIT}', killed.id)
    assert (ran.trace, ran.logs[0]['error.kind']) == (10, 'TimeLimitExceeded')
    assert ran.end - ran.begin >= 2
    traced.spans.wait_task(f'wait {OUTLASTS_SOFT_LIMIT}', killed.id)
    # The consumer's spans come in their order: what it had to say of the first is here.
    traced.spans.wait_task(f'run {REJECTS}', rejected.id)
    assert ran.tags['celery.state'] == 'FAILURE'
    # When the process is gone, every callback has been sent.
    wait_metric(traced.worker.metric, 'pool_processes_lost_total', 1, reason='time limit')
    wait_until(lambda: sqs.visible(errbacks) == 0 and sqs.in_flight(errbacks) == 0, 'they have run')
    assert traced.worker.metric('tasks_finished_total', **ended) - before == 1


def test_the_last_span_of_a_recycled_process_arrives(traced: Traced) -> None:
    sent = [traced.producer.send_task('add', (n, 1)) for n in range(3 * TASKS_PER_CHILD)]
    pids = {traced.spans.wait_task('run add', each.id).process['process.pid'] for each in sent}
    assert len(pids) > 2


def test_otlp_arrives_and_a_collector_that_fails_or_hangs_holds_nothing_up(site: Site) -> None:
    with (
        spans.collector() as received,
        site.worker(
            TRACING_EXPORTER='otlp',
            OTEL_EXPORTER_OTLP_ENDPOINT=received.url,
            PLATFORM_QUEUE_NAME='',
            CELERY_WORKER_CONCURRENCY=1,
            **IMPORTS,
        ) as worker,
    ):
        producer = site.producer()
        sent = producer.send_task(TRACED, queue=f'{site.username}-local-celery', headers=SENDER)
        _, child_id = sent.get(timeout=30)
        ran = received.wait_task('run add', child_id)
        wait_until(lambda: parents(received, ran) == OF_TRACED, 'every span is there')
        assert (ran.trace, ran.kind) == (10, 'CONSUMER')

        def run_some() -> None:
            before = received.requests
            results = [producer.send_task('add', (1, n)) for n in range(10)]
            assert [each.get(timeout=30) for each in results] == [n + 1 for n in range(10)]
            wait_until(lambda: received.requests > before, 'spans are sent')

        received.status = 500
        run_some()
        wait_until(lambda: 'OTLP endpoint is unavailable' in worker.log, 'the log says so')
        received.status = 200
        run_some()
        wait_until(lambda: 'OTLP endpoint is back' in worker.log, 'the log says so')
        received.delay = 60
        run_some()
        worker.signal(signal.SIGTERM)
        assert worker.wait_ended() == 0
        assert worker.log.count('OTLP endpoint') == 2
