from __future__ import annotations

import pytest

from app import known_secrets
from app.utils.sentry.scrub import scrub

DSN = 'https://c0ffee1234567890@sentry.example.com/42'


@pytest.fixture
def scrubbed(configured, monkeypatch):
    """Return a function that scrubs what a process with such a configuration reports."""
    for name, empty in (('_known', ()), ('_settings', {}), ('_later', {})):
        monkeypatch.setattr(known_secrets, name, empty)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'aws/secret+key')
    monkeypatch.setenv('CELERY_RESULT_BACKEND', 'db+postgresql://me:of%2Fresults@db/results')
    known_secrets.learn(
        configured(
            RESULT_DB_PASS='it\'s "long"/',
            RATELIMIT_REDIS_URL='redis://:of-redis@redis/0',
            SENTRY_DSN=DSN,
        )
    )
    return scrub


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


def test_secrets_that_come_later_are_masked(scrubbed) -> None:
    known_secrets.add('rotated-password')
    assert scrubbed({'login': 'with rotated-password'}) == {'login': 'with ***'}
