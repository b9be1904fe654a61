"""Errors reported to Sentry, from a worker's processes to a server that parses envelopes."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery.result import AsyncResult

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import app_tasks, faulty, rejecting
from tests.support.faulty_service import says
from tests.support.sentry_endpoint import KEY, running_sentry
from tests.support.worker import Site

PASSWORD = 'correct-horse'
#: The database of the tests takes any.
DB_PASSWORD = 'battery-staple'
LOGIN = f'somebody:{PASSWORD}'


class Reporting:
    """A worker that reports to a Sentry."""

    def __init__(self, folder: Any, sqs: SqsServer, postgres: PostgresServer) -> None:
        self.site = Site(folder, sqs.url, postgres.environment)
        self.celery_queue = f'{self.site.username}-local-celery'
        self._producer = self.site.producer()

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult:
        return self._producer.send_task(task, args, **options)

    def reported(self, result: AsyncResult, **tags: str) -> dict[str, Any]:
        """Return the one report of a task, with these tags, once one of a later task has come."""
        self.sentry.wait_for(celery_task_id=result.id)
        self.pass_by()
        (event,) = self.sentry.of(celery_task_id=result.id)
        assert event['release'] == '1.2.3'
        assert event['tags'] == {
            'queue': self.celery_queue,
            'attempt': '1',
            'celery_task_id': result.id,
            'message_id': str(uuid.UUID(event['tags']['message_id'])),
            'service': 'python-backend-worker-template',
            **tags,
        }
        return event

    def pass_by(self) -> None:
        """Have the pool process report another failure: what it had before has come by then."""
        self.sentry.wait_for(celery_task_id=self.send(app_tasks.RETURNS_NO_JSON).id)


@pytest.fixture(scope='module')
def reporting(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Reporting]:
    reporting = Reporting(tmp_path_factory.mktemp('sentry'), sqs, postgres)
    # A task whose process is killed has one attempt.
    options = {'wait_time_seconds': 1, 'max_receives': {reporting.site.queue('slow'): 1}}
    with (
        running_sentry() as reporting.sentry,
        reporting.site.worker(
            SENTRY_DSN=reporting.sentry.dsn,
            RELEASE='1.2.3',
            RESULT_DB_PASS=DB_PASSWORD,
            PLATFORM_QUEUE_NAME='',
            CELERY_BROKER_TRANSPORT_OPTIONS=options,
            CELERY_WORKER_CONCURRENCY=1,
            **app_tasks.IMPORTS,
        ) as reporting.worker,
    ):
        yield reporting


def test_a_final_failure_is_one_report_with_its_retries_as_breadcrumbs(
    reporting: Reporting,
) -> None:
    result = reporting.send(app_tasks.ALWAYS_FAILS, 'boom')
    event = reporting.reported(result, task=app_tasks.ALWAYS_FAILS, attempt='3', role='pool')
    (error,) = event['exception']['values']
    assert (error['type'], error['value']) == ('ConnectionError', 'boom, attempt 3')
    assert error['stacktrace']['frames'][-1]['function'] == 'always_fails'
    assert event['environment'] == 'local'
    assert event['server_name'] == os.uname().nodename
    assert event['transaction'] == app_tasks.ALWAYS_FAILS
    retries = [c for c in event['breadcrumbs']['values'] if c['category'] == 'retry']
    assert [crumb['data'] for crumb in retries] == [
        {'attempt': 1, 'exception': 'ConnectionError'},
        {'attempt': 2, 'exception': 'ConnectionError'},
    ]


def test_a_task_that_succeeds_at_last_or_fails_as_expected_is_no_report(
    reporting: Reporting,
) -> None:
    # The message of the retry carries no headers of the SDK.
    retried = reporting.send(app_tasks.HEADERS)
    names = retried.get(timeout=60)
    assert 'earlier_attempts' in names
    assert not [name for name in names if 'sentry' in name or name in ('baggage', 'traceparent')]
    expected = reporting.send(app_tasks.FAILS_AS_EXPECTED)
    wait_until(lambda: expected.state == 'FAILURE', 'it has failed')
    reporting.pass_by()
    for result in (retried, expected):
        assert reporting.sentry.of(celery_task_id=result.id) == []


def test_arguments_local_variables_and_secrets_stay_here(reporting: Reporting) -> None:
    result = reporting.send(app_tasks.FAILS_WITH_SECRETS, LOGIN)
    event = reporting.reported(result, task=app_tasks.FAILS_WITH_SECRETS, role='pool')
    cause, error = event['exception']['values']
    assert cause['value'] == 'cannot reach https://somebody:***@localhost/path'
    assert "login with '***'" in error['value']
    frames = [frame for value in (cause, error) for frame in value['stacktrace']['frames']]
    assert not any('vars' in frame for frame in frames)
    assert not event.get('extra')
    for envelope in reporting.sentry.envelopes:
        assert DB_PASSWORD.encode() not in envelope
        assert PASSWORD.encode() not in envelope


def test_a_failure_that_no_process_of_the_pool_reports_is_reported_by_the_consumer(
    reporting: Reporting,
) -> None:
    lost = reporting.send('slow', 600)
    wait_until(lambda: lost.state == 'STARTED', 'it runs')
    os.kill(lost.info['pid'], signal.SIGKILL)
    limits = {'soft_time_limit': 1, 'time_limit': 2}
    outlasts = reporting.send(app_tasks.OUTLASTS_SOFT_LIMIT, **limits)
    rejects = reporting.send(rejecting.TASK)
    slow, other = reporting.site.queue('slow'), reporting.celery_queue
    for error, task, result, queue in (
        ('WorkerLostError', 'slow', lost, slow),
        ('TimeLimitExceeded', app_tasks.OUTLASTS_SOFT_LIMIT, outlasts, other),
        ('Reject', rejecting.TASK, rejects, other),
    ):
        event = reporting.reported(result, task=task, queue=queue, role='consumer')
        assert event['exception']['values'][-1]['type'] == error


def test_a_sentry_that_is_unavailable_slow_or_wrong_costs_the_worker_nothing(
    reporting: Reporting,
) -> None:
    worker, sentry = reporting.worker, reporting.sentry
    for fault in (faulty.reset, says(500, b'<html>'), faulty.truncated, faulty.no_answer):
        sentry.fail(fault)
        before = sentry.requests
        failures = [reporting.send(app_tasks.RETURNS_NO_JSON) for _ in range(3)]
        assert reporting.send('add', 1, 1).get(timeout=60) == 2
        for failed in failures:
            wait_until(lambda failed=failed: failed.state == 'FAILURE', 'it has failed')
        wait_until(lambda before=before: sentry.requests > before, 'it is asked')
    # Each report that waits would take five seconds; the worker waits for all at most two.
    worker.signal(signal.SIGTERM)
    assert worker.wait_ended() == 0
    assert 'reports to Sentry were dropped: network=1: check SENTRY_DSN' in worker.log
    for text in (KEY, 'sentry_sdk', 'urllib3'):
        assert text not in worker.log
