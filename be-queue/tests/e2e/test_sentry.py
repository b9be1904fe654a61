"""Errors reported to Sentry, from a worker's processes to a server that parses envelopes."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery.result import AsyncResult

from be_queue.testing.ports import free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import app_tasks, faulty, rejecting
from tests.support.faulty_service import says
from tests.support.sentry_endpoint import KEY, SentryEndpoint, dsn, running_sentry
from tests.support.worker import Site

RELEASE = '1.2.3'
PASSWORD = 'correct-horse'
#: The database of the tests takes any.
DB_PASSWORD = 'battery-staple'
LOGIN = f'somebody:{PASSWORD}'


class Reporting:
    """A worker that reports to a Sentry."""

    def __init__(self, site: Site, sentry: SentryEndpoint) -> None:
        self.site, self.sentry = site, sentry
        self.celery_queue = f'{site.username}-local-celery'
        self._producer = site.producer()

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult:
        return self._producer.send_task(task, args, **options)

    def reported(self, result: AsyncResult) -> dict[str, Any]:
        """Return the one report of a task, once one of a later task has come as well."""
        self.sentry.wait_for(celery_task_id=result.id)
        self.pass_by()
        (event,) = self.sentry.of(celery_task_id=result.id)
        assert event['release'] == RELEASE
        return event

    def tags(self, result: AsyncResult, event: dict[str, Any], **others: str) -> dict[str, str]:
        """Return the tags that the report of a task of the tests' own should have."""
        return {
            'queue': self.celery_queue,
            'attempt': '1',
            'celery_task_id': result.id,
            'message_id': str(uuid.UUID(event['tags']['message_id'])),
            'service': 'python-backend-worker-template',
            **others,
        }

    def pass_by(self) -> None:
        """Have the pool process report another failure: what it had before has come by then."""
        self.sentry.wait_for(celery_task_id=self.send(app_tasks.RETURNS_NO_JSON).id)


@pytest.fixture(scope='module')
def worker(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Reporting]:
    site = Site(tmp_path_factory.mktemp('sentry'), sqs.url, postgres.environment)
    # A task whose process is killed has one attempt.
    options = {'wait_time_seconds': 1, 'max_receives': {site.queue('slow'): 1}}
    with (
        running_sentry() as sentry,
        site.worker(
            SENTRY_DSN=sentry.dsn,
            RELEASE=RELEASE,
            RESULT_DB_PASS=DB_PASSWORD,
            PLATFORM_QUEUE_NAME='',
            CELERY_BROKER_TRANSPORT_OPTIONS=options,
            CELERY_WORKER_CONCURRENCY=1,
            **app_tasks.IMPORTS,
        ),
    ):
        yield Reporting(site, sentry)


def test_a_final_failure_is_one_report_with_its_retries_as_breadcrumbs(worker: Reporting) -> None:
    result = worker.send(app_tasks.ALWAYS_FAILS, 'boom')
    event = worker.reported(result)
    (error,) = event['exception']['values']
    assert (error['type'], error['value']) == ('ConnectionError', 'boom, attempt 3')
    assert error['stacktrace']['frames'][-1]['function'] == 'always_fails'
    assert event['environment'] == 'local'
    assert event['server_name'] == os.uname().nodename
    assert event['transaction'] == app_tasks.ALWAYS_FAILS
    expected = worker.tags(result, event, task=app_tasks.ALWAYS_FAILS, attempt='3', role='pool')
    assert event['tags'] == expected
    retries = [c for c in event['breadcrumbs']['values'] if c['category'] == 'retry']
    assert [crumb['data'] for crumb in retries] == [
        {'attempt': 1, 'exception': 'ConnectionError'},
        {'attempt': 2, 'exception': 'ConnectionError'},
    ]


def test_what_succeeds_at_last_or_fails_as_expected_is_no_report(worker: Reporting) -> None:
    # The message of the retry carries no headers of the SDK.
    retried = worker.send(app_tasks.HEADERS)
    names = retried.get(timeout=60)
    assert 'earlier_attempts' in names
    assert not [name for name in names if 'sentry' in name or name in ('baggage', 'traceparent')]
    expected = worker.send(app_tasks.FAILS_AS_EXPECTED)
    wait_until(lambda: expected.state == 'FAILURE', 'it has failed')
    worker.pass_by()
    for result in (retried, expected):
        assert worker.sentry.of(celery_task_id=result.id) == []


def test_arguments_local_variables_and_secrets_stay_here(worker: Reporting) -> None:
    event = worker.reported(worker.send(app_tasks.FAILS_WITH_SECRETS, LOGIN))
    cause, error = event['exception']['values']
    assert cause['value'] == 'cannot reach https://somebody:***@localhost/path'
    assert "login with '***'" in error['value']
    frames = [frame for value in (cause, error) for frame in value['stacktrace']['frames']]
    assert not any('vars' in frame for frame in frames)
    assert not event.get('extra')
    for envelope in worker.sentry.envelopes:
        assert DB_PASSWORD.encode() not in envelope
        assert PASSWORD.encode() not in envelope


def test_what_no_process_of_the_pool_reports_is_reported_by_the_consumer(
    worker: Reporting,
) -> None:
    lost = worker.send('slow', 600)
    wait_until(lambda: lost.state == 'STARTED', 'it runs')
    os.kill(lost.info['pid'], signal.SIGKILL)
    limits = {'soft_time_limit': 1, 'time_limit': 2}
    sent = {
        'WorkerLostError': ('slow', lost),
        'TimeLimitExceeded': (
            app_tasks.OUTLASTS_SOFT_LIMIT,
            worker.send(app_tasks.OUTLASTS_SOFT_LIMIT, **limits),
        ),
        'Reject': (rejecting.TASK, worker.send(rejecting.TASK)),
    }
    for error, (task, result) in sent.items():
        event = worker.reported(result)
        assert event['exception']['values'][-1]['type'] == error
        expected = worker.tags(result, event, task=task, role='consumer')
        if task == 'slow':
            expected['queue'] = worker.site.queue('slow')
        assert event['tags'] == expected


def test_a_sentry_that_is_away_slow_or_wrong_costs_the_worker_nothing(site: Site) -> None:
    port = free_port()
    variables = {'SENTRY_DSN': dsn(port), 'CELERY_WORKER_CONCURRENCY': 1, **app_tasks.IMPORTS}
    with site.worker(PLATFORM_QUEUE_NAME='', **variables) as worker:
        producer = site.producer()

        def fail_and_succeed() -> None:
            failures = [producer.send_task(app_tasks.RETURNS_NO_JSON) for _ in range(3)]
            assert producer.send_task('add', (1, 1)).get(timeout=60) == 2
            for failed in failures:
                wait_until(lambda failed=failed: failed.state == 'FAILURE', 'it has failed')

        fail_and_succeed()
        line = 'reports to Sentry were dropped: network=1: check SENTRY_DSN'
        wait_until(lambda: line in worker.log, 'the log says so')
        with running_sentry(port) as sentry:
            fail_and_succeed()
            sentry.wait_for(3)
            for fault in (says(500, b'<html>'), faulty.truncated, faulty.no_answer):
                sentry.fail(fault)
                before = sentry.requests
                fail_and_succeed()
                wait_until(lambda before=before: sentry.requests > before, 'it is asked')
            # Each report that waits would take five seconds; the worker waits for all at most two.
            worker.signal(signal.SIGTERM)
            assert worker.wait_ended() == 0
        for text in (KEY, 'sentry_sdk', 'urllib3'):
            assert text not in worker.log
