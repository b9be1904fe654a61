from __future__ import annotations

import pytest
from celery import Celery

from app.utils.sentry.scrub import known_secrets, scrub

DSN = 'https://c0ffee1234567890@sentry.example.com/42'


@pytest.fixture
def scrubbed(configured, monkeypatch):
    """Return a function that scrubs what a process with such a configuration reports."""
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'aws/secret+key')
    app = Celery(set_as_current=False)
    app.conf.result_backend = 'db+postgresql://me:of%2Fresults@db/results'
    monkeypatch.setattr('app.utils.sentry.scrub.current_app', app)
    config = configured(
        RESULT_DB_PASS='it\'s "long"/',
        RATELIMIT_REDIS_URL='redis://:of-redis@redis/0',
        SENTRY_DSN=DSN,
    )
    return lambda report: scrub(report, known_secrets(config))


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('host=db password=it\'s "long"/', 'host=db password=***'),
        (repr(['it\'s "long"/']), "['***']"),
        ('postgresql://me:it%27s%20%22long%22%2F@db', 'postgresql://me:***@db'),
        ('it%27s%20%22long%22/ as a path', '*** as a path'),
        ('of/results', '***'),
        ('of%2Fresults, of-redis', '***, ***'),
        ('aws/secret+key', '***'),
        (f'reported to {DSN}', 'reported to ***'),
        ('https://somebody:unknown@host/path', 'https://somebody:***@host/path'),
        ('nothing to hide', 'nothing to hide'),
    ],
)
def test_secrets_are_masked_in_texts(scrubbed, text, shown) -> None:
    assert scrubbed(text) == shown


def test_secrets_are_masked_at_any_depth_and_in_keys(scrubbed) -> None:
    report = {'frames': [{'vars': {'of-redis': ['a of-redis b'], 'n': 1, 'none': None}}]}
    assert scrubbed(report) == {'frames': [{'vars': {'***': ['a *** b'], 'n': 1, 'none': None}}]}


def test_what_has_the_name_of_a_secret_is_masked(scrubbed) -> None:
    report = {'vars': {'api_key': 'x', 'PASSWORD': 'x', 'user': 'x', 'access_token': 1}}
    masked = {'api_key': '***', 'PASSWORD': '***', 'user': 'x', 'access_token': '***'}
    assert scrubbed(report) == {'vars': masked}


def test_a_short_password_takes_no_other_words_with_it(configured) -> None:
    secrets = known_secrets(configured(RESULT_DB_PASS='base'))
    assert scrub('base: database, base', secrets) == '***: database, ***'


def test_the_login_of_the_embedded_server_is_no_secret(configured) -> None:
    secrets = known_secrets(configured(SQS_ENDPOINT_URL='embedded', RESULT_DB_PASS='x'))
    assert scrub('a test', secrets) == 'a test'
