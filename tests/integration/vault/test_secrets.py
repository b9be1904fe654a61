"""Settings whose values are in Vault."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config.configuration import Config, ConfigError, configuration, load_config
from tests.integration.vault.conftest import Configure
from tests.support.vault import Vault

PASSWORD = 'RESULT_DB_PASS=worker/db#password'


def test_a_setting_comes_from_vault(configure: Configure, vault: Vault) -> None:
    config = configure(vault_secrets=f'{PASSWORD}, RESULT_DB_PORT = worker/db#port')
    assert config.result_db_pass.get_secret_value() == 'hush-of-the-database'
    assert config.result_db_port == 5433
    # Once for both.
    assert vault.count('secret/data/worker/db') == 1


def test_the_environment_wins_over_vault_and_vault_over_defaults(
    configure: Configure, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('RESULT_DB_PASS', 'from-the-environment')
    monkeypatch.setenv('RESULT_DB_PORT', '')
    vault.kv['secret/worker/sentry'] = {'name': 'from-vault'}
    config = configure(
        vault_secrets=f'{PASSWORD},RESULT_DB_PORT=worker/db#port,SERVICE_NAME=worker/sentry#name'
    )
    assert config.result_db_pass.get_secret_value() == 'from-the-environment'
    assert config.result_db_port == 5433
    assert config.service_name == 'from-vault'


def test_what_the_environment_gives_is_not_asked_for(configure: Configure, vault: Vault) -> None:
    vault.denied.add('secret/data/worker/db')
    assert configure(vault_secrets=PASSWORD, result_db_pass='mine')
    assert vault.requests == []


def test_another_mount_and_a_namespace(configure: Configure, vault: Vault) -> None:
    vault.kv['team/kv/db'] = {'name': 'theirs'}
    config = configure(
        vault_kv_mount='team/kv', vault_namespace='team-a', vault_secrets='RESULT_DB_NAME=db#name'
    )
    assert config.result_db_name == 'theirs'
    assert vault.headers['team/kv/data/db']['X-Vault-Namespace'] == 'team-a'


@pytest.mark.parametrize(
    ('secret', 'words'),
    [
        ('worker/nothing#password', 'there is nothing at secret/data/worker/nothing: write it'),
        ('worker/gone#password', 'the latest version of secret/data/worker/gone is deleted'),
        ('worker/db#pasword', "secret/data/worker/db has no field 'pasword': it has 'none', 'pass"),
        ('worker/db#none', "the field 'none' of secret/data/worker/db is empty"),
        ('worker/map#all', "the field 'all' of secret/data/worker/map is a list or a map"),
        ('worker/shut#password', 'path "secret/data/worker/shut" { capabilities = ["read"] }'),
    ],
)
def test_a_secret_that_cannot_be_had_is_named_with_its_setting(
    configure: Configure, vault: Vault, secret: str, words: str
) -> None:
    vault.kv |= {'secret/worker/gone': None, 'secret/worker/map': {'all': {'a': 'hush'}}}
    vault.denied.add('secret/data/worker/shut')
    with pytest.raises(ConfigError) as caught:
        configure(vault_secrets=f'RESULT_DB_PASS={secret}')
    assert f'VAULT_SECRETS=RESULT_DB_PASS={secret}: ' in str(caught.value)
    assert words in str(caught.value)
    assert 'hush' not in str(caught.value)


def test_every_fault_has_a_line(configure: Configure) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(vault_secrets='RESULT_DB_PASS=a#b,RESULT_DB_NAME=c#d')
    assert [line.split(': ')[0] for line in str(caught.value).splitlines()] == [
        'VAULT_SECRETS=RESULT_DB_PASS=a#b',
        'VAULT_SECRETS=RESULT_DB_NAME=c#d',
    ]


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('RESULT_DB_PAS', 'did you mean RESULT_DB_PASS?'),
        ('VAULT_SECRET_ID', 'cannot come from Vault'),
        ('CELERY_BROKER_URL', 'cannot come from Vault'),
        ('AWS_SECRET_ACCESS_KEY', 'cannot come from Vault'),
    ],
)
def test_only_settings_of_the_app_come_from_vault(
    configure: Configure, name: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=f'VAULT_SECRETS={name}=a#b: .*') as caught:
        configure(vault_secrets=f'{name}=a#b')
    assert words in str(caught.value)


def test_a_bad_value_from_vault_is_not_shown(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.kv['secret/worker/web'] = {'port': 'hush-is-no-port'}
    monkeypatch.setattr(configuration, 'ROOT', tmp_path)
    monkeypatch.setenv('VAULT_ADDR', vault.url)
    monkeypatch.setenv('VAULT_TOKEN', vault.new_token())
    monkeypatch.setenv('VAULT_SECRETS', 'SERVER_PORT=worker/web#port')
    load_config.cache_clear()
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert str(caught.value) == 'SERVER_PORT=***: must be a whole number'


def test_no_representation_and_no_dump_shows_what_came_from_vault(
    configure: Configure, vault: Vault
) -> None:
    vault.kv['secret/worker/all'] = {'text': 'hush-text', 'pass': 'hush-pass'}
    config = configure(vault_secrets='SERVICE_NAME=worker/all#text,RESULT_DB_PASS=worker/all#pass')
    assert (config.service_name, config.env) == ('hush-text', 'local')
    shown = f'{config!r} {config} {config.model_dump()} {config.model_dump_json()}'
    assert 'hush' not in shown
    assert vault.given[0] not in shown
    assert config.model_dump()['env'] == 'local'


def test_a_token_of_a_login_ends_once_the_secrets_are_read(
    configure: Configure, vault: Vault
) -> None:
    vault.logins['approle'] = lambda body: True
    configure(vault_role_id='r', vault_secret_id='s', vault_secrets=PASSWORD)
    assert vault.count('auth/token/revoke-self') == 1
    assert vault.tokens == {}


def test_a_token_that_was_given_is_not_ended(configure: Configure, vault: Vault) -> None:
    configure(vault_secrets=PASSWORD)
    assert len(vault.tokens) == 1


def test_without_an_address_vault_is_off(vault: Vault) -> None:
    assert Config(vault_token='t', vault_secrets=PASSWORD).result_db_name == 'cadasta'
    assert vault.requests == []
