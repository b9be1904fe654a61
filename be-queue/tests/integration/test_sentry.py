"""Reports of each kind of process to Sentry, also while it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from be_queue.testing.waiting import wait_until
from be_queue.worker.sentry.client import Transport
from tests.support import faulty
from tests.support.faulty_service import says
from tests.support.process import running
from tests.support.sentry_endpoint import Handler, SentryEndpoint, running_sentry
from tests.support.sentry_program import ARGUMENT, NAMED, SECRET


@pytest.fixture
def sentry() -> Iterator[SentryEndpoint]:
    with running_sentry() as endpoint:
        yield endpoint


def run(sentry: SentryEndpoint, folder: Path, role: str, **variables: str) -> None:
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
    with running(['-m', 'tests.support.sentry_program', role], environment, log) as it:
        assert it.ends(timeout=60) == 0


def errors(event: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error['type'], error['value']) for error in event['exception']['values']]


@pytest.mark.parametrize('role', ['web', 'monitor', 'consumer'])
def test_a_process_reports_its_own_errors_and_no_other_line(
    sentry: SentryEndpoint, tmp_path: Path, role: str
) -> None:
    run(sentry, tmp_path, role)
    # One in a thread, one in the main thread.
    assert list(map(errors, sentry.events)) == [[('RuntimeError', 'on purpose')]] * 2
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
        ('trace_id', 'beef'),
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


@pytest.mark.parametrize(
    ('fault', 'expected'),
    [
        # Logged at once, and at the end: of 300, one is being sent and 100 wait.
        (faulty.no_answer, ['full_queue=1', f'full_queue={300 - 1 - 100 - 1}']),
        (says(413, b'{"detail":"no"}'), ['status_413=1', 'status_413=2']),
        (faulty.reset, ['network=1', 'network=2']),
    ],
    ids=['no answer', 'refused', 'network'],
)
def test_reports_that_are_dropped_are_counted_and_logged_once_a_minute(
    sentry: SentryEndpoint,
    caplog: pytest.LogCaptureFixture,
    fault: faulty.Fault,
    expected: list[str],
) -> None:
    sentry.fail(fault)
    client = sentry_sdk.Client(
        sentry.dsn,
        transport=Transport,
        transport_queue_size=100,
        default_integrations=False,
        send_client_reports=False,
    )
    client.capture_event({'message': 'x'})
    wait_until(lambda: sentry.requests == 1, 'the first is being sent')
    is_stuck = fault is faulty.no_answer
    for _ in range(299 if is_stuck else 2):
        client.capture_event({'message': 'x'})
    client.close(timeout=0.1 if is_stuck else 60)
    assert caplog.messages == [
        f'reports to Sentry were dropped: {dropped}: check SENTRY_DSN, and the network between'
        for dropped in expected
    ]
