from __future__ import annotations

import pytest

from be_queue.worker.settings import ConfigError
from be_queue.worker.vault.settings import Secret, parse


def test_settings_and_where_they_are():
    assert parse(' SENTRY_DSN = worker/sentry#dsn ,result_db_pass=/worker/db/#pass=word, ') == {
        'sentry_dsn': Secret('worker/sentry', 'dsn'),
        'result_db_pass': Secret('worker/db', 'pass=word'),
    }
    assert parse('') == {}


@pytest.mark.parametrize('entry', ['A', 'A=path', 'A=path#', 'A=#field', '=path#field'])
def test_an_entry_that_cannot_be_read_is_shown_with_an_example(entry):
    with pytest.raises(ValueError, match='for example RESULT_DB_PASS=worker/db#password') as caught:
        parse(f'B=path#field,{entry}')
    assert repr(entry) in str(caught.value)


def test_a_setting_has_one_place():
    with pytest.raises(ValueError, match='two entries for A'):
        parse('A=b#c,a=d#e')


@pytest.mark.parametrize(
    ('variable', 'value', 'words'),
    [
        ('VAULT_SECRETS', 'A', 'must be NAME=path#field, separated by commas'),
        ('VAULT_ADDR', 'vault:8200', 'must be http:// or https://, a host and a port'),
        ('VAULT_ADDR', 'https://user:hush@vault', 'must be http:// or https://, a host'),
        ('VAULT_CACERT', '/nowhere/ca.pem', 'must be a file or a folder that is there'),
        ('VAULT_AUTH_METHOD', 'ldap', "must be 'token', 'approle', 'kubernetes' or 'aws'"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_the_start(configured, variable, value, words):
    with pytest.raises(ConfigError) as caught:
        configured(**{variable: value})
    assert str(caught.value).startswith(f'{variable}=')
    assert words in str(caught.value)
    assert 'hush' not in str(caught.value)
