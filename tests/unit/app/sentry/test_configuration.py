from __future__ import annotations

import pytest

from app.config.configuration import ConfigError

KEY = 'c0ffee1234567890'


def fault_of(configured, **variables) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(**variables)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize('variables', [{}, {'SENTRY_DSN': '', 'SENTRY_SAMPLE_RATE': ''}])
def test_by_default_it_is_off_and_keeps_arguments(configured, variables) -> None:
    config = configured(**variables)
    assert config.sentry_dsn.get_secret_value() == ''
    assert config.sentry_send_arguments is False
    assert config.sentry_sample_rate == 1


@pytest.mark.parametrize(
    'dsn',
    [
        f'https://{KEY}@sentry.example.com/42',
        f'https://{KEY}@o1.ingest.us.sentry.io/4507',
        f'http://{KEY}:secret@[::1]:9000/behind/a/path/7',
    ],
)
def test_forms_of_the_dsn(configured, dsn) -> None:
    config = configured(SENTRY_DSN=dsn)
    assert config.sentry_dsn.get_secret_value() == dsn
    assert KEY not in repr(config)


@pytest.mark.parametrize(
    ('dsn', 'fault'),
    [
        (KEY, 'it does not begin with https:// or http://'),
        (f'ftp://{KEY}@sentry.example.com/42', 'it does not begin with https:// or http://'),
        (f'https://{KEY}@:80/42', 'it has no host'),
        ('https://sentry.example.com/42', "it has no key before an '@'"),
        (f'https://{KEY}@sentry.example.com', 'it does not end with the number of a project'),
        (f'https://{KEY}@sentry.example.com/42/', 'it does not end with the number of a project'),
        (f'https://{KEY}@sentry.example.com/me', 'it does not end with the number of a project'),
        (f'https://{KEY}@sentry.example.com:port/42', 'it is no URL'),
        (f'https://{KEY}@[sentry/42', 'it is no URL'),
    ],
)
def test_a_wrong_dsn_is_named_and_not_shown(configured, dsn, fault) -> None:
    line = fault_of(configured, SENTRY_DSN=dsn)
    assert line == (
        f'SENTRY_DSN=***: must be a DSN such as https://KEY@sentry.example.com/42, and {fault}'
    )


@pytest.mark.parametrize('rate', ['0', '1.1', '-1', 'half'])
def test_a_wrong_rate_is_refused(configured, rate) -> None:
    assert f"SENTRY_SAMPLE_RATE='{rate}': must be" in fault_of(configured, SENTRY_SAMPLE_RATE=rate)
