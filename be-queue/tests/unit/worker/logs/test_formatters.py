from __future__ import annotations

import datetime
import json
import logging
import re
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings

from be_queue.text import MAX_TEXT
from be_queue.worker import redaction
from be_queue.worker.logs.formatters import ConsoleFormatter, JsonFormatter
from tests.unit.core.passwords import PASSWORDS, assert_hidden

pytestmark = pytest.mark.usefixtures('no_secrets')
IDENTITY = {'service': 'payments', 'env': 'prod', 'release': '1.2.3'}
ANSI = re.compile(r'\x1b\[[0-9;]*m')


@pytest.fixture
def as_json(record):
    """Return a function that logs a line as JSON and reads it back."""
    formatter = JsonFormatter(**IDENTITY)

    def log(*args, **others):
        text = formatter.format(record(*args, **others))
        assert text.isascii()
        assert '\n' not in text
        return json.loads(text, parse_constant=pytest.fail)

    return log


@pytest.fixture
def for_a_person(record):
    """Return a function that returns a line for a person."""
    return lambda *args, **others: ConsoleFormatter(False).format(record(*args, **others))


class Rude:
    def __str__(self) -> str:
        raise ZeroDivisionError('no text')

    __repr__ = __str__


def circle() -> list[object]:
    parts: list[object] = []
    parts.extend([parts] * 30)
    return parts


def test_a_line_has_time_level_logger_message_process_and_what_runs(record) -> None:
    made = record('%s of %d', 'one', 2, level=logging.WARNING)
    made.created, made.msecs = 1_700_000_000.1239, 123.9
    line = json.loads(JsonFormatter(**IDENTITY).format(made))
    assert line.pop('pid') > 1
    assert line == {
        'timestamp': '2023-11-14T22:13:20.123Z',
        'level': 'WARNING',
        'logger': 'app.tasks',
        'message': 'one of 2',
        'process': 'worker',
        **IDENTITY,
    }


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        ([3, 0.5, True, None, 'a\nb'], [3, 0.5, True, None, 'a\nb']),
        (float('inf'), 'inf'),
        (10**400, 10**400),
        (
            datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
            '2026-01-02T03:04:05+00:00',
        ),
        ({1: (2, {3})}, {'1': [2, [3]]}),
        (b'bytes', "b'bytes'"),
        ({'rows': [Rude()]}, '<dict without a text: ZeroDivisionError>'),
        (circle(), '<list without a text: RecursionError>'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_field_is_what_json_can_hold_and_loses_no_line(as_json, value, shown) -> None:
    line = as_json('a\x00b\x1b[2J\u2028\udc80', field=value, n=1)
    assert line['message'] == 'a\x00b\x1b[2J\u2028\udc80'
    assert (line['field'], line['n']) == (shown, 1)


@pytest.mark.parametrize('value', ['y' * 3 * MAX_TEXT, list(range(MAX_TEXT)), {'y' * 99_000: 1}])
def test_a_text_or_field_that_is_very_long_loses_its_middle(as_json, value) -> None:
    line = as_json('%s', 'a' * MAX_TEXT + 'b' * MAX_TEXT, field=value)
    for text in (line['message'], line['field']):
        assert ' characters are left out ... ' in text
        assert len(text) < MAX_TEXT + 100
    assert (line['message'][:3], line['message'][-3:]) == ('aaa', 'bbb')


def test_a_line_for_a_person_reads_from_left_to_right(record) -> None:
    made = record('ready: %d', 1, name='app.server', count=2, action='x', text='two words')
    plain, coloured = (ConsoleFormatter(colours).format(made) for colours in (False, True))
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO    worker app\.server: ready: 1 '
        r'count=2 text="two words"',
        plain,
    )
    assert '\x1b[32mINFO' in coloured
    assert ANSI.sub('', coloured)[12:] == plain[23:]  # without the date


def test_fields_that_celerys_message_has_are_not_shown_again(for_a_person, about_charge) -> None:
    data = {'id': 'an-id', 'name': 'charge'}
    message = 'Task %(name)s[%(id)s] received'
    with about_charge():
        line = for_a_person(message, data, name='celery.worker.strategy', data=data)
        assert ': paid task_id=an-id task_name=charge queue=' in for_a_person('paid')
    assert line.endswith(
        ': Task charge[an-id] received queue=prod-payments-charge attempt=2 max_attempts=6'
    )


def test_a_traceback_is_one_field_and_stands_below_for_a_person(as_json, for_a_person) -> None:
    try:
        raise ValueError('no')
    except ValueError:
        line = as_json('x', exc_info=True)
        first, second, *_, last = for_a_person('failed', exc_info=True, level=40).splitlines()
    assert line['exception'] == 'ValueError'
    assert line['traceback'].startswith('Traceback (most recent call last):\n')
    assert line['traceback'].endswith('ValueError: no')
    assert first.endswith('failed')
    assert (second, last) == ('Traceback (most recent call last):', 'ValueError: no')


def test_a_message_cannot_pass_for_another_line_or_move_the_cursor(for_a_person) -> None:
    line = for_a_person('one\n2026-01-01 CRITICAL two\r\x1b[2J\x9b', field='a\nb\x1b')
    first, second = line.split('\n')
    assert first.endswith('one')
    assert second == r'    2026-01-01 CRITICAL two\x0d\x1b[2J\x9b field="a\nb\u001b"'


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PASSWORDS)
def test_no_line_has_a_secret(record, password) -> None:
    redaction.add(password)
    redaction.add('81549300')
    try:
        raise ValueError(f'it is {password}') from KeyError(password)
    except ValueError:
        made = record(
            '%s %s %r %s %s', password, quote(password), [password], {'a': password},
            json.dumps(password), exc_info=True, number=81549300, field=password,
            nested={password: [(password, 'x')]}, shown=Exception(password),
        )  # fmt: skip
    made.stack_info = password
    as_json, *others = (
        each.format(made)
        for each in (JsonFormatter(**IDENTITY), ConsoleFormatter(True), ConsoleFormatter(False))
    )
    for text in (as_json, *others):
        assert_hidden(password, text)
        assert '81549300' not in text
    line = json.loads(as_json)
    assert line['message'].startswith('*** ***')
    # A password that reads like the name of a secret, as 1TOKEN2 does, hides its value as a whole.
    assert line['nested'] in ({'***': [['***', 'x']]}, {'***': '***'})
    assert line['traceback'].endswith('ValueError: it is ***')


@pytest.mark.parametrize(
    ('field', 'shown'),
    [
        ({'api_key': 'abc'}, '***'),
        ({'api_key': 12345}, '***'),
        ({'db_credentials': {'value': 'abc'}}, '***'),
        ({'headers': {'Access-Token': 'abc', 'n': 1}}, {'Access-Token': '***', 'n': 1}),
        *(
            ({'headers': {name: 'abc'}}, {name: '***'})
            for name in ('X-Api-Key', 'aws-access-key', 'Authorization', 'Set-Cookie')
        ),
    ],
)
def test_a_field_whose_name_says_secret_is_masked(as_json, for_a_person, field, shown) -> None:
    ((name, value),) = field.items()
    assert as_json('x', **field)[name] == shown
    assert 'abc' not in for_a_person('x', **field)
    assert as_json({name: value})[name] == shown
