"""Reports of each kind of process to Sentry, also while it ends."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from be_queue.testing.waiting import wait_until
from be_queue.worker.sentry.transport import Transport
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.process import running
from tests.support.sentry_endpoint import Handler, SentryEndpoint, running_sentry
from tests.support.sentry_program import ARGUMENT, NAMED, SECRET


@pytest.fixture
def sentry() -> Iterator[SentryEndpoint]:
    with running_sentry() as endpoint:
        yield endpoint


def run(sentry: SentryEndpoint, folder: Path, program: str, **variables: str) -> None:
    """Run a program of tests/support/sentry_program.py to its end."""
    (folder / 'metrics').mkdir()
    environment = {
        'SENTRY_DSN': sentry.dsn,
        'SQS_ENDPOINT_URL': 'http://test:test@127.0.0.1:9',
        'RESULT_DB_PASS': SECRET,
        'PROMETHEUS_MULTIPROC_DIR': str(folder / 'metrics'),
        'QUEUE_DEPTH_INTERVAL': '0',
        'LOG_FORMAT': 'console',
        'LC_ALL': 'C.UTF-8',
        **variables,
    }
    log = folder / 'log'
    with running(['-m', 'tests.support.sentry_program', program], environment, log) as it:
        assert it.ends(timeout=60) == 0


def errors(event: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error['type'], error['value']) for error in event['exception']['values']]


@pytest.mark.parametrize('role', ['web', 'monitor', 'consumer'])
def test_a_process_reports_its_own_errors_and_no_other_line(
    sentry: SentryEndpoint, tmp_path: Path, role: str
) -> None:
    run(sentry, tmp_path, role)
    assert sorted(map(errors, sentry.events)) == [
        [('RuntimeError', 'in a thread')],
        [('RuntimeError', 'on purpose')],
    ]
    for event in sentry.events:
        assert event['tags'] == {'role': role, 'service': 'python-backend-worker-template'}
    assert not any(SECRET.encode() in envelope for envelope in sentry.envelopes)


def refuses(handler: Handler) -> None:
    """Refuse what Sentry does, and servers that store events in PostgreSQL."""
    if len(handler.body) > 1_048_576:
        handler.answer(413, b'{"detail":"too large"}')
    elif rb'\ud800' in handler.body:
        handler.answer(500, b'surrogates not allowed')
    else:
        handler.take()


@pytest.mark.parametrize('sends_arguments', [False, True])
def test_a_pool_process_reports_final_failures_and_sends_pending_reports_at_its_end(
    sentry: SentryEndpoint, tmp_path: Path, sends_arguments: bool
) -> None:
    sentry.fail(refuses)
    run(sentry, tmp_path, 'pool', SENTRY_SEND_ARGUMENTS=str(sends_arguments))
    events = {event['tags']['celery_task_id']: event for event in sentry.events}
    # One each, also for two tasks that raise the very same object; none for a failure that could
    # not be stored, since the task runs again.
    own = [event for event in sentry.events if 'message' in event]
    assert [event['message'] for event in own] == ['words of a task']
    assert len(sentry.events) == len(events) + len(own)
    assert events.keys() == {
        'one', 'two', 'ends_its_retries', 'raises_much', 'logs_much', 'succeeds', 'tells_secrets',
    }  # fmt: skip

    # A report is no larger than Sentry takes, and has only what a server can store.
    ((_, text),) = errors(events['raises_much'])
    assert text.startswith('half ? of a pair xxx')
    for name in ('raises_much', 'logs_much'):
        assert 'characters are left out' in str(events[name])

    # A task that fails after its body is reported with all its tags.
    assert events['succeeds']['tags'].items() >= {
        ('task', 'succeeds'),
        ('queue', 'a-queue'),
        ('attempt', '3'),
        ('message_id', 'a-message'),
    }

    event = events['tells_secrets']
    assert own[0]['tags'] == event['tags']
    (crumb,) = (each for each in event['breadcrumbs']['values'] if each['message'] == 'it calls')
    assert crumb['data']['db_credentials'] == '***'
    frame = event['exception']['values'][0]['stacktrace']['frames'][-1]
    for envelope in sentry.envelopes:
        assert SECRET.encode() not in envelope
        assert NAMED.encode() not in envelope
        assert sends_arguments or ARGUMENT.encode() not in envelope
    if sends_arguments:
        assert event['extra'] == {'args': [ARGUMENT], 'kwargs': {}}
        assert frame['vars']['harmless'] == "'a local variable'"
        assert frame['vars']['database_password'] == '***'
    else:
        assert 'vars' not in frame
        (spent,) = errors(events['ends_its_retries'])
        assert spent == (
            'MaxRetriesExceededError',
            "Can't retry ends_its_retries[ends_its_retries]",
        )


def test_switched_off_no_process_imports_the_sdk(sentry: SentryEndpoint, tmp_path: Path) -> None:
    run(sentry, tmp_path, 'switched_off', SENTRY_DSN='')
    assert sentry.requests == 0


@pytest.mark.parametrize(
    ('status', 'message'),
    [
        (413, 'a report to Sentry is dropped: Sentry refused it with HTTP status 413; if it'),
        (500, 'a report to Sentry is dropped: Sentry refused it with HTTP status 500; if it'),
        (503, 'Sentry is unavailable, trying until it is back: HTTPError: status 503'),
    ],
)
def test_a_report_that_is_refused_is_no_outage(
    sentry: SentryEndpoint, caplog: pytest.LogCaptureFixture, status: int, message: str
) -> None:
    sentry.fail(says(status, b'{"detail":"no"}'))
    client = sentry_sdk.Client(sentry.dsn, transport=Transport, default_integrations=False)
    for _ in range(3):
        client.capture_event({'message': 'x'})
    wait_until(lambda: sentry.requests == 3, 'three requests')
    client.close(timeout=30)
    (line,) = caplog.messages
    assert line.startswith(message)


def test_reports_beyond_the_queue_are_dropped_and_counted(
    sentry: SentryEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    sentry.fail(faulty.no_answer)
    client = sentry_sdk.Client(
        sentry.dsn, transport=Transport, transport_queue_size=100, default_integrations=False
    )
    with caplog.at_level(logging.WARNING):
        client.capture_event({'message': 'x'})
        wait_until(lambda: sentry.requests == 1, 'the first is being sent')
        for _ in range(299):
            client.capture_event({'message': 'x'})
        client.close(timeout=0.1)
    counts = [re.search(r'since 100 wait to be sent: reports=(\d+)', m) for m in caplog.messages]
    # At once, and at the end.
    assert [int(count[1]) for count in counts if count] == [1, 300 - 1 - 100 - 1]
    sentry.repair()
