from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from be_queue.worker import redaction
from be_queue.worker.redaction import MAX_LATER, MIN_LENGTH, add, keep, learn, redacted

FORMS = (str, repr, json.dumps, quote, quote_plus, partial(quote, safe=''))
PASSWORD = 'p@ss/w\u00f6rd"\\ \n%'
pytestmark = pytest.mark.usefixtures('no_secrets')


@pytest.mark.parametrize('text', ['{}', 'before {} after', "password='{}'", '{}{}'])
def test_a_secret_is_masked_wherever_it_stands(text) -> None:
    add('correct-horse')
    shown = redacted(text.format('correct-horse', 'correct-horse'))
    assert shown == text.format('***', '***')


@pytest.mark.parametrize('form', FORMS)
def test_a_secret_is_masked_in_each_form_that_it_takes(form) -> None:
    add(PASSWORD)
    assert redacted(f'<{form(PASSWORD)}>') in ('<***>', "<'***'>", '<"***">')


def test_of_two_secrets_the_longer_is_masked_whole() -> None:
    add('correct')
    add('correct-horse-battery')
    assert redacted('correct-horse-battery correct') == '*** ***'


def test_a_text_too_short_to_tell_from_other_words_is_no_secret() -> None:
    add('a' * (MIN_LENGTH - 1))
    add('b' * MIN_LENGTH)
    assert redacted('aaaaa bbbbbb') == 'aaaaa ***'


def test_passwords_in_urls_are_masked_and_nothing_beside_them() -> None:
    text = (
        'from http://127.0.0.1:8080/ to postgresql://u:pw/@?x@db:5432/n?sslpassword=s&a=b\n'
        'as a@b.c, https://h/?X-Amz-Security-Token=abc'
    )
    assert redacted(text) == (
        'from http://127.0.0.1:8080/ to postgresql://u:***@db:5432/n?sslpassword=***&a=b\n'
        'as a@b.c, https://h/?X-Amz-Security-Token=***'
    )


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


def test_the_secrets_of_a_services_own_settings_are_known() -> None:
    class Settings(BaseModel):
        keys: dict[str, SecretStr] = {'a': SecretStr('in-a-dict')}
        urls: list[str] = ['http://u:in-a-list@h', 'http://[no-url']
        key: SecretBytes = SecretBytes(b'in-bytes')

    learn(Settings())
    assert redacted('in-a-dict in-a-list in-bytes no-url') == '*** *** *** no-url'


def test_a_password_that_is_also_a_name_is_none(configured) -> None:
    learn(configured())  # both are cadasta
    assert redacted('user cadasta') == 'user cadasta'


def test_secrets_that_rotate_take_a_bounded_time_and_those_in_use_stay_known() -> None:
    keep('of-a-setting')
    for number in range(10 * MAX_LATER):
        add('in-use-all-the-time')
        add(f'credential-{number:04}')
    assert len(redaction._known) <= MAX_LATER + 1
    assert redacted('credential-0999 in-use-all-the-time of-a-setting') == '*** *** ***'
    assert redacted('credential-0000') == 'credential-0000'


def test_secrets_that_threads_add_at_once_are_all_known() -> None:
    def add_many(name: str) -> None:
        for number in range(20):
            add(f'{name}-secret-{number:02}')

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_many, 'abcd'))
    for name in 'abcd':
        for number in range(20):
            assert redacted(f'<{name}-secret-{number:02}>') == '<***>'


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    assert redacted('x' * 3_000_000 + ' http://u:pw@h ?').endswith(' http://u:***@h ?')
