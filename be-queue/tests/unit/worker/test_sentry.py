from __future__ import annotations

import json
from functools import partial

import pytest

from app.config.configuration import load_config
from be_queue.text import MAX_TEXT
from be_queue.worker import redaction
from be_queue.worker.sentry import client
from be_queue.worker.sentry.client import MAX_REPORT, scrub

DSN = 'https://c0ffee1234567890@sentry.example.com/42'


@pytest.fixture
def scrubbed(configured, monkeypatch, no_secrets):
    """Return a function that scrubs what a process with such a configuration reports."""
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'aws/secret+key')
    monkeypatch.setenv('CELERY_RESULT_BACKEND', 'db+postgresql://me:of%2Fresults@db/results')
    redaction.learn(
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
        ('half \ud800 of a pair, NUL \0', 'half ? of a pair, NUL \N{REPLACEMENT CHARACTER}'),
        ('nothing to hide', 'nothing to hide'),
    ],
)
def test_secrets_are_masked_in_texts(scrubbed, text, shown) -> None:
    assert scrubbed(text) == shown


@pytest.mark.parametrize(
    ('report', 'shown'),
    [
        (
            {'frames': [{'vars': {'of-redis': ['a of-redis b'], 'n': 1, 'none': None}}]},
            {'frames': [{'vars': {'***': ['a *** b'], 'n': 1, 'none': None}}]},
        ),
        (
            {'vars': {'api_key': 'x', 'PASSWORD': 'x', 'user': 'x', 'access_token': 1}},
            {'vars': {'api_key': '***', 'PASSWORD': '***', 'user': 'x', 'access_token': '***'}},
        ),
        (
            {'db_credentials': {'value': 'x'}, 'headers': {'X-Api-Key': 'x', 'Cookie': 'x'}},
            {'db_credentials': '***', 'headers': {'X-Api-Key': '***', 'Cookie': '***'}},
        ),
        ({'login': 'with rotated-password'}, {'login': 'with ***'}),
    ],
    ids=['in keys', 'by name', 'all below a name', 'added later'],
)
def test_secrets_are_masked_at_any_depth(scrubbed, report, shown) -> None:
    redaction.add('rotated-password')
    assert scrubbed(report) == shown


def test_a_long_text_loses_its_middle_and_no_part_of_a_secret_stays(scrubbed) -> None:
    redaction.add('rotated-password')
    half = MAX_TEXT // 2
    text = 'a' * (half - 5) + 'rotated-password' + 'b' * 2_000_000
    (shown,) = scrubbed([text])
    assert shown.startswith('a' * (half - 5) + '***bb ... ')
    assert 'characters are left out' in shown
    assert len(shown) < MAX_TEXT + 100


def test_a_report_of_many_texts_is_no_larger_than_sentry_takes(scrubbed) -> None:
    report = {'breadcrumbs': [{'message': f'{number} {"é" * MAX_TEXT}'} for number in range(50)]}
    shown = scrubbed(report)
    assert len(json.dumps(shown)) <= MAX_REPORT
    assert [crumb['message'][:2] for crumb in shown['breadcrumbs']][:2] == ['0 ', '1 ']
    assert scrubbed({'message': 'é' * MAX_TEXT}) == {'message': 'é' * MAX_TEXT}


def test_the_service_s_hook_gets_no_secret_adds_none_and_may_drop_a_report(
    scrubbed, monkeypatch
) -> None:
    seen = []

    def hook(event: dict[str, str], hint: dict[str, str]) -> dict[str, str] | None:
        seen.append(event)
        return None if hint.get('drop') else event | {'added': 'of-redis', 'kept': 'as it is'}

    monkeypatch.setattr('app.utils.sentry.before_send', hook)
    before_send = partial(client._before_send, load_config().sentry_before_send)
    assert before_send({'text': 'of/results'}, {}) == {
        'text': '***', 'added': '***', 'kept': 'as it is',
    }  # fmt: skip
    assert before_send({'text': 'of/results'}, {'drop': 'yes'}) is None
    assert seen == [{'text': '***'}] * 2
