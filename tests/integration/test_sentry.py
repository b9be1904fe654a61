"""What each kind of process reports to Sentry, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import faulty
from tests.support.process import running
from tests.support.sentry_endpoint import SentryEndpoint, running_sentry
from tests.support.sentry_program import COOKIE


@pytest.fixture
def sentry() -> Iterator[SentryEndpoint]:
    with running_sentry() as endpoint:
        yield endpoint


def run(sentry: SentryEndpoint, folder: Path, what: str) -> str:
    """Run a program to its end; return what it has written."""
    (folder / 'metrics').mkdir()
    environment = {
        'SENTRY_DSN': sentry.dsn,
        'SQS_ENDPOINT_URL': 'http://test:test@127.0.0.1:9',
        'PROMETHEUS_MULTIPROC_DIR': str(folder / 'metrics'),
        'QUEUE_DEPTH_INTERVAL': '0',
        'LC_ALL': 'C.UTF-8',
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


def test_a_server_that_hangs_holds_up_neither_reports_nor_the_end(
    sentry: SentryEndpoint, tmp_path: Path
) -> None:
    sentry.fail(faulty.no_answer)
    log = run(sentry, tmp_path, 'hang')
    assert 'waiting: 100' in log
    # One request takes five seconds: the process ended before the second.
    assert sentry.requests == 1
