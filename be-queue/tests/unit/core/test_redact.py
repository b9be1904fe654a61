"""Passwords never show, wherever they stand and whatever they are made of."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from be_queue.redact import redact, redact_repr, redact_text
from tests.unit.core.passwords import PASSWORDS, assert_hidden


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        ('db+postgresql+psycopg://user:pass@host:5432/name', '***@host:5432/name'),
        ('sqs://key:secret@127.0.0.1:4566', 'sqs://key:***@127.0.0.1:4566'),
        ('redis://:pass@host/0', 'redis://:***@host/0'),
        ('sqs://', 'sqs://'),
        ('http://127.0.0.1:4566', 'http://127.0.0.1:4566'),
        ('postgresql://host/db?user=u&password=p&sslmode=x', 'user=u&password=***&sslmode=x'),
        ('https://h/?a=1&token=x?y=z&b=2?api_key=q', '?a=1&token=***&b=2?api_key=***'),
        ('plain text', 'plain text'),
    ],
)
def test_a_url_keeps_everything_but_its_password(value: str, shown: str) -> None:
    assert redact(value).endswith(shown)
    assert redact(value).partition(':')[0] == value.partition(':')[0]


@given(PASSWORDS, PASSWORDS)
def test_passwords_in_urls_are_hidden_quoted_or_raw_one_or_two(one: str, two: str) -> None:
    quoted = redact(f'db+postgresql+psycopg://user:{quote(one, safe="")}@host:5432/name')
    assert quoted == 'db+postgresql+psycopg://user:***@host:5432/name'

    shown = redact(f'sqs://a:{one}@first;sqs://b:{two}@second')
    assert_hidden(one, shown)
    assert_hidden(two, shown)
    assert shown.endswith('@second')


@given(
    PASSWORDS,
    st.lists(st.sampled_from(['dict', 'list', 'tuple', 'key']), max_size=5),
    st.sampled_from(['password', 'DB_PASS', 'passphrase', 'session_token', 'PASSWD', 'api_key']),
)
def test_a_password_is_hidden_at_any_depth(password: str, nesting: list[str], key: str) -> None:
    value: Any = {key: password}
    for kind in nesting:
        value = {
            'dict': {'region': 'us-west-2', 'inner': value},
            'list': ['text', value],
            'tuple': (value, 1),
            'key': {7: value},
        }[kind]

    shown = redact(value)

    assert_hidden(password, shown)
    assert '***' in str(shown)


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        *(
            ({'password': secret}, {'password': '***'})
            for secret in ('text', b'bytes', 1234, 12.5, ['one', 'two'], {'set'}, {'a': {'b': 1}})
        ),
        *(
            ({'headers': {name: 'abc', 'Accept': '*'}}, {'headers': {name: '***', 'Accept': '*'}})
            for name in ('X-Api-Key', 'aws-access-key', 'private-key', 'Authorization', 'Cookie')
        ),
        *(({'password': shown}, {'password': shown}) for shown in (None, '', True, False, 0)),
        (
            {'http://u:pw@h': [{'id': 'me', 'db_credentials': {'value': 'pw', 'on': True}}]},
            {'http://u:***@h': [{'id': 'me', 'db_credentials': '***'}]},
        ),
        (
            {'region': 'us-west-2', 'is_secure': True, 'wait_time_seconds': 20, 'names': ['a']},
            {'region': 'us-west-2', 'is_secure': True, 'wait_time_seconds': 20, 'names': ['a']},
        ),
        (
            {'passengers': [{'name': 'a', 'passport_country': 'b', 'surpassed': 1}]},
            {'passengers': [{'name': 'a', 'passport_country': 'b', 'surpassed': 1}]},
        ),
    ],
)
def test_the_value_of_a_secrets_name_is_hidden_and_no_other(value: Any, shown: Any) -> None:
    before = repr(value)

    assert redact(value) == shown
    assert repr(value) == before


MANY = 300_000


# A time that grows with the square of the length would be minutes to hours.
@pytest.mark.parametrize(
    'text',
    [
        'http://h:1/' * MANY + '@',
        'x://' * MANY,
        'x' * MANY + '://',
        '@' * MANY + 'x://a:',
        '?' * MANY + 'token',
        '?pass' * MANY + '=',
        '?a=pass&' * MANY,
        '&a' * MANY + 'pass=',
        '=' * MANY + '?pass=x',
        'access_' * MANY + '?=',
        '?' + 'pass' * MANY + '&=',
    ],
    ids=lambda text: f'{text[:12]}...{text[-8:]}',
)
def test_a_text_takes_no_longer_than_its_length(text: str) -> None:
    assert isinstance(redact(text), str)


def test_a_text_that_should_have_been_a_dict_is_hidden_when_it_names_a_secret() -> None:
    assert redact_text("{'password': 'pw'") == '***'
    assert redact_text("{'region': 'us-west-2'") == "{'region': 'us-west-2'"
    assert redact_text('amqp://u:pw@host') == 'amqp://u:***@host'
    assert redact_text('pw', key='REDIS_PASSWORD') == '***'


def test_secrets_in_representations_of_arguments_are_hidden() -> None:
    assert redact_repr("('x', 7)") == "('x', 7)"
    assert redact_repr("{'password': 'pw', 'n': 1}") == "{'password': '***', 'n': 1}"
    assert redact_repr("{'url': 'http://u:pw@host'}") == "{'url': 'http://u:***@host'}"
    for text in ("{'password': 'p...", "{'password': <object>}", '-' * MANY + 'password'):
        assert redact_repr(text) == '***'
