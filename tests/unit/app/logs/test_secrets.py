from __future__ import annotations

import json
import traceback
from functools import partial
from urllib.parse import quote, quote_plus

import pytest

from app import known_secrets
from app.known_secrets import MAX_LATER, MIN_LENGTH, add, keep, learn, redacted
from app.utils.logs.json_lines import JsonFormatter

FORMS = (str, repr, json.dumps, quote, quote_plus, partial(quote, safe=''))
PASSWORD = 'p@ss/w\u00f6rd"\\ \n%'


@pytest.fixture
def logged(record):
    """Return a function that returns a line as text."""
    return lambda *args, **others: JsonFormatter('w', 's', 'e', 'r').format(record(*args, **others))


@pytest.mark.parametrize(
    'text',
    ['{}', 'before {} after', "password='{}'", '{}{}'],
)
def test_a_secret_is_masked_wherever_it_stands(text) -> None:
    add('correct-horse')
    assert 'horse' not in redacted(text.format('correct-horse', 'correct-horse'))
    assert '***' in redacted(text.format('correct-horse', 'correct-horse'))


@pytest.mark.parametrize('form', FORMS)
def test_a_secret_is_masked_in_each_form_that_it_takes(form) -> None:
    add(PASSWORD)
    assert redacted(f'<{form(PASSWORD)}>') in ('<***>', "<'***'>", '<"***">')


def test_a_secret_is_masked_in_messages_arguments_fields_and_tracebacks(logged) -> None:
    add('correct-horse')
    add('81549300')
    try:
        raise ValueError('it is correct-horse') from KeyError('correct-horse')
    except ValueError:
        assert 'horse' in traceback.format_exc()
        line = logged(
            'correct-horse %s %r %s', 'correct-horse', ['correct-horse'], b'correct-horse',
            field='correct-horse', nested={'correct-horse': [('correct-horse',)]}, number=81549300,
            exc_info=True,
        )  # fmt: skip
    assert 'horse' not in line
    assert '81549300' not in line
    assert json.loads(line)['nested'] == {'***': [['***']]}


def test_of_two_secrets_the_longer_is_masked_whole() -> None:
    add('correct')
    add('correct-horse-battery')
    assert redacted('correct-horse-battery correct') == '*** ***'


def test_what_is_too_short_to_tell_from_other_words_is_none() -> None:
    add('a' * (MIN_LENGTH - 1))
    add('b' * MIN_LENGTH)
    assert redacted('aaaaa bbbbbb') == 'aaaaa ***'


def test_logins_in_urls_are_masked_and_nothing_beside_them() -> None:
    text = (
        'from http://127.0.0.1:8080/ to postgresql://u:pw/@?x@db:5432/n?sslpassword=s&a=b\n'
        'as a@b.c, https://h/?X-Amz-Security-Token=abc'
    )
    assert redacted(text) == (
        'from http://127.0.0.1:8080/ to postgresql://u:***@db:5432/n?sslpassword=***&a=b\n'
        'as a@b.c, https://h/?X-Amz-Security-Token=***'
    )


def test_a_field_whose_name_says_secret_is_masked(logged) -> None:
    line = json.loads(logged('x', api_key='abc', headers={'Access-Token': 'abc', 'n': 1}))
    assert (line['api_key'], line['headers']) == ('***', {'Access-Token': '***', 'n': 1})


@pytest.mark.parametrize('name', ['X-Api-Key', 'aws-access-key', 'Authorization', 'Set-Cookie'])
def test_a_header_that_holds_a_secret_is_masked(logged, name) -> None:
    assert json.loads(logged('x', headers={name: 'abc'}))['headers'] == {name: '***'}


def test_all_that_is_under_a_secrets_name_is_masked(logged) -> None:
    assert json.loads(logged('x', db_credentials={'value': 'abc'}))['db_credentials'] == '***'


def test_the_secrets_among_the_settings_are_known(configured, monkeypatch) -> None:
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'aws-secret-key')
    monkeypatch.setenv('CELERY_RESULT_BACKEND', 'db+postgresql://me:in-backend@h/d')
    learn(
        configured(
            RESULT_DB_PASS='of-the-database',
            RATELIMIT_REDIS_URL='redis://:of%2Fredis@h',
            SQS_ENDPOINT_URL='http://key:of-the-endpoint@h',
        )
    )
    for known in (
        'aws-secret-key', 'in-backend', 'of-the-database', 'of/redis', 'of%2Fredis',
        'of-the-endpoint',
    ):  # fmt: skip
        assert redacted(f'<{known}>') == '<***>'


def test_secrets_that_rotate_take_a_bounded_time(configured) -> None:
    learn(configured(RESULT_DB_PASS='of-the-database'))
    for number in range(10 * MAX_LATER):
        add(f'credential-{number:04}')
    assert len(known_secrets._known) <= MAX_LATER + 1
    assert redacted(f'credential-{10 * MAX_LATER - 1:04} of-the-database') == '*** ***'


def test_one_that_is_added_again_and_again_stays_known() -> None:
    for number in range(10 * MAX_LATER):
        add('in-use-all-the-time')
        add(f'credential-{number:04}')
    assert len(known_secrets._later) == MAX_LATER
    assert redacted('in-use-all-the-time') == '***'


def test_a_setting_stays_known_while_others_rotate() -> None:
    keep('of-a-setting')
    for number in range(10 * MAX_LATER):
        add(f'credential-{number:04}')
    assert redacted('of-a-setting') == '***'


def test_a_long_text_takes_no_longer_than_its_length(configured) -> None:
    assert redacted('x' * 3_000_000 + ' http://u:pw@h ?').endswith(' http://u:***@h ?')


def test_a_password_that_is_also_a_name_is_none(configured) -> None:
    learn(configured())  # both are cadasta
    assert redacted('user cadasta') == 'user cadasta'
