"""Errors reported to Sentry, from the whole tree of processes to a server that parses envelopes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery.result import AsyncResult

from tests.support import app_tasks, faulty, rejecting
from tests.support.faulty_service import says
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.sentry_endpoint import KEY, SentryEndpoint, dsn, running_sentry
from tests.support.sqs import SqsServer
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

RELEASE = '1.2.3'
PASSWORD = 'correct-horse'
#: The database of the tests takes any.
DB_PASSWORD = 'battery-staple'
LOGIN = f'somebody:{PASSWORD}'


class Reporting:
    """A worker that reports to a Sentry."""

    def __init__(self, site: Site, sentry: SentryEndpoint, server: Server) -> None:
        self.site, self.sentry, self.server = site, sentry, server
        self._producer = site.producer()

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult:
        return self._producer.send_task(task, args, **options)

    def wait_failed(self, result: AsyncResult) -> None:
        wait_until(lambda: result.state == 'FAILURE', f'{result.id} has failed')

    def reported(self, result: AsyncResult) -> dict[str, Any]:
        """Return the one report of a task, once one of a later task has come as well."""
        self.sentry.wait_for(celery_task_id=result.id)
        self.pass_by()
        (event,) = self.sentry.of(celery_task_id=result.id)
        return event

    def pass_by(self) -> None:
        """Have each pool process report another failure: what it had before has come by then."""
        results = [self.send(app_tasks.RETURNS_NO_JSON) for _ in range(2)]
        for result in results:
            self.sentry.wait_for(celery_task_id=result.id)


@pytest.fixture(scope='module')
def worker(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Reporting]:
    site = Site(tmp_path_factory.mktemp('sentry'), sqs.url, postgres.environment)
    # Whoever kills its process has one attempt.
    options = {'wait_time_seconds': 1, 'max_receives': {site.queue('slow'): 1}}
    variables = {'RELEASE': RELEASE, 'RESULT_DB_PASS': DB_PASSWORD, **app_tasks.IMPORTS}
    with (
        running_sentry() as sentry,
        site.server(
            SENTRY_DSN=sentry.dsn,
            PLATFORM_QUEUE_NAME='',
            CELERY_BROKER_TRANSPORT_OPTIONS=options,
            **variables,
        ) as server,
    ):
        yield Reporting(site, sentry, server)


def test_a_final_failure_is_one_report_with_its_retries_as_breadcrumbs(worker: Reporting) -> None:
    result = worker.send(app_tasks.ALWAYS_FAILS, 'boom')
    event = worker.reported(result)
    (error,) = event['exception']['values']
    assert (error['type'], error['value']) == ('ConnectionError', 'boom, attempt 3')
    assert error['stacktrace']['frames'][-1]['function'] == 'always_fails'
    assert event['environment'] == 'local'
    assert event['release'] == RELEASE
    assert event['server_name'] == os.uname().nodename
    assert event['transaction'] == app_tasks.ALWAYS_FAILS
    tags = event['tags']
    assert len(tags.pop('message_id')) == len('5a7b855a-6692-47ad-89f3-193e4e125386')
    assert tags == {
        'task': app_tasks.ALWAYS_FAILS,
        'queue': f'{worker.site.username}-local-celery',
        'attempt': '3',
        'celery_task_id': result.id,
        'role': 'pool',
        'service': 'python-backend-worker-template',
    }
    retries = [c for c in event['breadcrumbs']['values'] if c['category'] == 'retry']
    assert [crumb['data'] for crumb in retries] == [
        {'attempt': 1, 'exception': 'ConnectionError'},
        {'attempt': 2, 'exception': 'ConnectionError'},
    ]


def test_what_succeeds_at_last_or_fails_as_expected_is_no_report(worker: Reporting) -> None:
    retried = worker.send('retry_demo', 1)
    assert retried.get(timeout=30) == 'succeeded at attempt 2'
    expected = worker.send(app_tasks.FAILS_AS_EXPECTED)
    worker.wait_failed(expected)
    worker.pass_by()
    for result in (retried, expected):
        assert worker.sentry.of(celery_task_id=result.id) == []


def test_arguments_local_variables_and_secrets_stay_here(worker: Reporting) -> None:
    result = worker.send(app_tasks.FAILS_WITH_SECRETS, LOGIN)
    event = worker.reported(result)
    cause, error = event['exception']['values']
    assert cause['value'] == 'cannot reach https://somebody:***@localhost/path'
    assert "login with '***'" in error['value']
    frames = [frame for value in (cause, error) for frame in value['stacktrace']['frames']]
    assert not any('vars' in frame for frame in frames)
    assert not event.get('extra')
    for envelope in worker.sentry.envelopes:
        assert DB_PASSWORD.encode() not in envelope
        assert PASSWORD.encode() not in envelope


def test_messages_carry_no_headers_of_the_sdk(worker: Reporting) -> None:
    names = worker.send(app_tasks.HEADERS).get(timeout=30)
    assert 'earlier_attempts' in names
    assert not [name for name in names if 'sentry' in name or name in ('baggage', 'traceparent')]


def test_a_rejected_message_is_reported_by_the_consumer(worker: Reporting) -> None:
    event = worker.reported(worker.send(rejecting.TASK))
    assert event['tags']['role'] == 'consumer'
    assert event['exception']['values'][-1]['type'] == 'Reject'


def test_the_end_of_a_killed_child_is_reported_by_the_consumer(worker: Reporting) -> None:
    result = worker.send('slow', 600)
    meta = wait_until(
        lambda: (m := result._get_task_meta())['status'] == 'STARTED' and m, 'it runs'
    )
    os.kill(meta['result']['pid'], signal.SIGKILL)
    event = worker.reported(result)
    assert event['exception']['values'][-1]['type'] == 'WorkerLostError'
    tags = event['tags']
    assert len(tags.pop('message_id')) == len('5a7b855a-6692-47ad-89f3-193e4e125386')
    assert tags == {
        'task': 'slow',
        'queue': worker.site.queue('slow'),
        'attempt': '1',
        'celery_task_id': result.id,
        'role': 'consumer',
        'service': 'python-backend-worker-template',
    }
    assert event['release'] == RELEASE


def test_the_hard_time_limit_is_reported_by_the_consumer(worker: Reporting) -> None:
    result = worker.send(app_tasks.OUTLASTS_SOFT_LIMIT, soft_time_limit=1, time_limit=2)
    event = worker.reported(result)
    assert event['exception']['values'][-1]['type'] == 'TimeLimitExceeded'
    assert event['tags']['role'] == 'consumer'
    assert event['tags']['queue'] == f'{worker.site.username}-local-celery'


def test_a_sentry_that_is_away_slow_or_wrong_costs_the_worker_nothing(site: Site) -> None:
    port = free_port()
    variables = {'SENTRY_DSN': dsn(port), 'CELERY_WORKER_CONCURRENCY': 1, **app_tasks.IMPORTS}
    with site.server(PLATFORM_QUEUE_NAME='', **variables) as server:
        producer = site.producer()

        def fail_and_succeed() -> None:
            failures = [producer.send_task(app_tasks.RETURNS_NO_JSON) for _ in range(6)]
            results = [producer.send_task('add', (n, 1)) for n in range(6)]
            assert [result.get(timeout=30) for result in results] == [n + 1 for n in range(6)]
            for failed in failures:
                wait_until(lambda failed=failed: failed.state == 'FAILURE', 'it has failed')

        fail_and_succeed()
        wait_until(lambda: 'Sentry is away' in server.log, 'the log says so')
        assert 'SENTRY_DSN' in server.log
        with running_sentry(port) as sentry:
            fail_and_succeed()
            sentry.wait_for(6)
            wait_until(lambda: 'Sentry is back' in server.log, 'the log says so')
            assert server.log.count('Sentry is away') == 1
            for fault in (says(500, b'<html>'), says(200, b'\0<html>'), faulty.truncated):
                sentry.fail(fault)
                fail_and_succeed()
            before = sentry.requests
            sentry.fail(faulty.no_answer)
            fail_and_succeed()
            wait_until(lambda: sentry.requests > before, 'it is asked')
            assert server.get('/healthz')[0] == 200
            server.signal(signal.SIGTERM)
            # Each of those that wait would take five seconds.
            assert server.wait_ended(timeout=30) == 0
        assert KEY not in server.log
        assert 'sentry_sdk' not in server.log
        assert 'urllib3' not in server.log
