"""What each kind of process reports to Sentry, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.process import running
from tests.support.sentry_endpoint import Handler, SentryEndpoint, running_sentry
from tests.support.sentry_program import COOKIE


@pytest.fixture
def sentry() -> Iterator[SentryEndpoint]:
    with running_sentry() as endpoint:
        yield endpoint


def run(sentry: SentryEndpoint, folder: Path, what: str, **variables: str) -> str:
    """Run a program to its end; return what it has written."""
    (folder / 'metrics').mkdir()
    environment = {
        'SENTRY_DSN': sentry.dsn,
        'SQS_ENDPOINT_URL': 'http://test:test@127.0.0.1:9',
        'PROMETHEUS_MULTIPROC_DIR': str(folder / 'metrics'),
        'QUEUE_DEPTH_INTERVAL': '0',
        'LC_ALL': 'C.UTF-8',
        **variables,
    }
    with running(['-m', 'tests.support.sentry_program', what], environment, folder / 'log') as it:
        it.ends(timeout=60)
        return it.log


def errors(event: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error['type'], error['value']) for error in event['exception']['values']]


def test_the_web_server_reports_a_request_that_fails(
    sentry: SentryEndpoint, tmp_path: Path
) -> None:
    run(sentry, tmp_path, 'web')
    (event,) = sentry.events
    assert errors(event) == [('RuntimeError', 'on purpose')]
    assert event['request']['url'] == 'http://localhost/broken'
    assert event['tags']['role'] == 'web'
    assert not any(COOKIE.encode() in envelope for envelope in sentry.envelopes)


@pytest.mark.parametrize('role', ['monitor', 'consumer'])
def test_a_process_reports_the_exception_that_ends_it(
    sentry: SentryEndpoint, tmp_path: Path, role: str
) -> None:
    run(sentry, tmp_path, role)
    (event,) = sentry.events
    assert errors(event) == [('RuntimeError', 'on purpose')]
    assert event['tags'] == {'role': role, 'service': 'python-backend-worker-template'}


def test_a_failure_that_could_not_be_stored_is_no_report(
    sentry: SentryEndpoint, tmp_path: Path
) -> None:
    run(sentry, tmp_path, 'pool')
    assert {event['tags']['celery_task_id'] for event in sentry.events} == {'once', 'retries'}
    assert len(sentry.events) == 2


def test_the_text_of_spent_retries_holds_no_arguments(
    sentry: SentryEndpoint, tmp_path: Path
) -> None:
    run(sentry, tmp_path, 'pool')
    (event,) = sentry.of(task='ends_its_retries')
    assert errors(event) == [('MaxRetriesExceededError', "Can't retry ends_its_retries[retries]")]
    assert not any(COOKIE.encode() in envelope for envelope in sentry.envelopes)


@pytest.mark.parametrize('role', ['consumer', 'web', 'monitor'])
def test_a_process_reports_a_thread_that_ends_with_an_error(
    sentry: SentryEndpoint, tmp_path: Path, role: str
) -> None:
    run(sentry, tmp_path, 'thread', ROLE=role, LOG_FORMAT='console')
    (event,) = sentry.events
    assert errors(event) == [('RuntimeError', 'on purpose')]
    assert event['tags']['role'] == role


@pytest.fixture(scope='module')
def of_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SentryEndpoint, str]]:
    """What tasks report that fail in odd ways; what the program says."""
    with running_sentry() as sentry:
        sentry.fail(refuses)
        yield sentry, run(sentry, tmp_path_factory.mktemp('tasks'), 'tasks')


def refuses(handler: Handler) -> None:
    """Refuse what Sentry does, and servers that store reports in PostgreSQL."""
    if len(handler.body) > 1_048_576:
        handler.answer(413, b'{"detail":"too large"}')
    elif rb'\ud800' in handler.body:
        handler.answer(500, b'surrogates not allowed')
    else:
        handler.take()


def test_tasks_that_raise_the_very_same_object_have_a_report_each(
    of_tasks: tuple[SentryEndpoint, str],
) -> None:
    events = of_tasks[0].of(task='raises_one_object')
    assert [event['tags']['celery_task_id'] for event in events] == ['one-0', 'one-1', 'one-2']


@pytest.mark.parametrize('task', ['raises_much', 'logs_much'])
def test_a_report_is_no_larger_than_sentry_takes(
    of_tasks: tuple[SentryEndpoint, str], task: str
) -> None:
    (event,) = of_tasks[0].of(task=task)
    assert 'characters are left out' in str(event)


def test_a_report_has_only_what_a_server_can_store(of_tasks: tuple[SentryEndpoint, str]) -> None:
    (event,) = of_tasks[0].of(task='raises_half_a_pair')
    assert errors(event) == [('RuntimeError', 'half ? of a pair')]


def test_secrets_of_log_lines_stay_here(of_tasks: tuple[SentryEndpoint, str]) -> None:
    (event,) = of_tasks[0].of(task='logs_secrets')
    (crumb,) = (each for each in event['breadcrumbs']['values'] if each['message'] == 'it calls')
    assert crumb['data']['db_credentials'] == '***'
    assert not any(COOKIE.encode() in envelope for envelope in of_tasks[0].envelopes)


def test_a_task_that_fails_after_its_body_is_reported_with_all_its_tags(
    of_tasks: tuple[SentryEndpoint, str],
) -> None:
    (event,) = of_tasks[0].of(celery_task_id='around')
    assert event['tags'].items() >= {
        ('task', 'succeeds'),
        ('queue', 'a-queue'),
        ('attempt', '3'),
        ('message_id', 'a-message'),
    }


@pytest.mark.parametrize(
    ('status', 'said'),
    [
        (413, 'a report to Sentry is dropped: it is larger than Sentry takes'),
        (500, 'a report to Sentry is dropped: Sentry refused it with HTTP status 500; if it'),
        (503, 'Sentry is away, trying until it is back: UnavailableError: HTTP status 503'),
    ],
)
def test_a_report_that_is_refused_is_no_outage(
    sentry: SentryEndpoint, tmp_path: Path, status: int, said: str
) -> None:
    sentry.fail(says(status, b'{"detail":"no"}'))
    log = run(sentry, tmp_path, 'monitor')
    assert said in log
    assert ('is away' in log) == (status == 503)
    assert ('is dropped' in log) == (status != 503)


def test_a_server_that_hangs_holds_up_neither_reports_nor_the_end(
    sentry: SentryEndpoint, tmp_path: Path
) -> None:
    sentry.fail(faulty.no_answer)
    log = run(sentry, tmp_path, 'hang')
    assert 'waiting: 100' in log
    said = re.findall(r'dropped, since 100 wait to be sent: reports=(\d+)', log)
    # At once, and when the process ends; one is being sent.
    assert [int(number) for number in said] == [1, 300 - 100 - 1 - 1]
    # One request takes five seconds: the process ended before the second.
    assert sentry.requests == 1
