from __future__ import annotations

import pytest
from celery.app.task import Context

from app.utils.sentry.attempts import breadcrumbs
from app.utils.sentry.tags import describe

EARLIER = [[1, 1767225600.0, 'ConnectionError'], [2, 1767225601.5, 'TimeoutError']]


def test_an_earlier_attempt_is_a_breadcrumb() -> None:
    first, second = breadcrumbs(Context(earlier_attempts=EARLIER))
    assert first['message'] == 'attempt 1 failed and was retried: ConnectionError'
    assert first['timestamp'] == '2026-01-01T00:00:00+00:00'
    assert second['data'] == {'attempt': 2, 'exception': 'TimeoutError'}


def test_a_first_attempt_has_none() -> None:
    assert breadcrumbs(Context()) == []


@pytest.mark.parametrize(
    'header',
    ['x', 1, {}, ['x'], [[1]], [[1, 2, 3]], [['1', 2, 'x']], [[1, 1e300, 'x']], [[1, -1, 'x']]],
)
def test_what_a_stranger_sent_is_none(header) -> None:
    assert breadcrumbs(Context(earlier_attempts=header)) == []


def test_only_the_last_are_shown() -> None:
    many = [[n, 0.0, 'E'] for n in range(1, 1001)]
    assert [crumb['data']['attempt'] for crumb in breadcrumbs(Context(earlier_attempts=many))] == [
        *range(991, 1001)
    ]


def test_they_come_before_what_was_logged() -> None:
    report = {'breadcrumbs': {'values': [{'category': 'app'}]}}
    describe(report, 'add', Context(earlier_attempts=EARLIER))
    categories = [crumb['category'] for crumb in report['breadcrumbs']['values']]
    assert categories == ['retry', 'retry', 'app']


def test_tags_name_the_task_the_message_and_the_trace() -> None:
    report = {'tags': {'role': 'pool'}}
    request = Context(
        id='a-task',
        retries=2,
        delivery_info={'routing_key': 'a-queue'},
        properties={'delivery_info': {'sqs_message': {'MessageId': 'a-message'}}},
        trace_id='beef',
    )
    describe(report, 'add', request)
    assert report['transaction'] == 'add'
    assert report['tags'] == {
        'role': 'pool',
        'task': 'add',
        'queue': 'a-queue',
        'attempt': '3',
        'celery_task_id': 'a-task',
        'message_id': 'a-message',
        'trace_id': 'beef',
    }


def test_tags_that_are_not_known_are_left_out() -> None:
    report = {}
    describe(report, 'add', Context(id='a-task'))
    assert report['tags'] == {'task': 'add', 'attempt': '1', 'celery_task_id': 'a-task'}
