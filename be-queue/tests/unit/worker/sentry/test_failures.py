from __future__ import annotations

import logging

import pytest
from celery.app.task import Context
from celery.exceptions import SoftTimeLimitExceeded
from sentry_sdk.integrations.logging import LoggingIntegration

from be_queue.worker.role import Role
from be_queue.worker.sentry import client
from be_queue.worker.sentry.failures import breadcrumbs, tags
from tests.support.soft_limit import Striking, applying


def test_an_earlier_attempt_is_a_breadcrumb() -> None:
    header = [[1, 1767225600.0, 'ConnectionError'], [2, 1767225601.5, 'TimeoutError']]
    assert len(breadcrumbs(Context(earlier_attempts=header * 100))) == 10
    first, second = breadcrumbs(Context(earlier_attempts=header))
    assert first['message'] == 'attempt 1 failed and was retried: ConnectionError'
    assert first['timestamp'] == '2026-01-01T00:00:00+00:00'
    assert second['data'] == {'attempt': 2, 'exception': 'TimeoutError'}


@pytest.mark.parametrize('header', [None, 'x', 1, {}, ['x'], [[1]], [[1, '2', 3]], [[1, 1e300, 2]]])
def test_a_strangers_header_is_ignored(header) -> None:
    assert breadcrumbs(Context(earlier_attempts=header)) == []


def test_tags_name_the_task_the_message_and_the_trace_as_far_as_they_are_known() -> None:
    assert tags('add', Context(id='a-task')) == {
        'task': 'add',
        'attempt': '1',
        'celery_task_id': 'a-task',
    }
    request = Context(
        id='a-task',
        retries=2,
        delivery_info={'routing_key': 'a-queue'},
        properties={'delivery_info': {'sqs_message': {'MessageId': 'a-message'}}},
        trace_id='beef',
    )
    assert tags('add', request) == {
        'task': 'add',
        'queue': 'a-queue',
        'attempt': '3',
        'celery_task_id': 'a-task',
        'message_id': 'a-message',
        'trace_id': 'beef',
    }


def test_the_soft_time_limit_waits_until_a_line_is_a_breadcrumb() -> None:
    # The SDK catches whatever is raised there.
    (taking,) = (i for i in client._integrations(Role.POOL) if isinstance(i, LoggingIntegration))
    record = logging.makeLogRecord({'msg': '%s', 'args': (Striking(),), 'levelno': logging.INFO})
    with applying(), pytest.raises(SoftTimeLimitExceeded):
        taking._handle_record(record)
