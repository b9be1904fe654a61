"""The role of the database engine, at the start."""

from __future__ import annotations

from typing import Any

import pytest

from app.config.configuration import ConfigError
from app.config.configuration.result_backend import vault_backend
from app.utils import vault as integration
from tests.integration.vault.conftest import APPROLE, Configure
from tests.support.vault import Vault


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'result_db_pass': 'hush'}, 'RESULT_DB_PASS would give another: unset one or the other'),
        ({'result_db_host': None}, 'VAULT_DB_ROLE=worker: set RESULT_DB_HOST'),
    ],
)
def test_a_login_from_elsewhere_as_well_is_refused(
    config: Configure, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        vault_backend(config(**settings), 'worker', None)
    assert words in str(caught.value)
    assert 'hush' not in str(caught.value)


@pytest.mark.parametrize(
    ('role', 'denied', 'words'),
    [
        ('worker', 'database/creds/worker', 'path "database/creds/worker" { capabilities = ["read'),
        ('nobody', '', 'VAULT_DB_ROLE=nobody: database/creds/nobody: unknown role: nobody: check'),
    ],
)
def test_a_role_that_gives_no_login_stops_the_start(
    configure: Configure, vault: Vault, role: str, denied: str, words: str
) -> None:
    vault.denied.add(denied)
    with pytest.raises(ConfigError) as caught:
        integration.check(configure(vault_db_role=role))
    assert words in str(caught.value)


def test_a_database_that_is_away_does_not_stop_the_start(
    configure: Configure, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    vault.failing.add('database/creds/worker')
    integration.check(configure(vault_db_role='worker'))
    assert 'Vault gives no login at database/creds/worker yet' in caplog.text


def test_a_token_that_has_ended_is_told(configure: Configure) -> None:
    with pytest.raises(ConfigError) as caught:
        integration.check(configure(vault_db_role='worker', vault_token='hush-token'))
    assert str(caught.value).endswith('or the token is wrong or has ended: check VAULT_TOKEN')


def test_an_engine_that_is_not_there_is_told(configure: Configure, vault: Vault) -> None:
    vault.database, mounted = None, vault.database
    with pytest.raises(ConfigError, match='database/creds/worker: no handler for route'):
        integration.check(configure(vault_db_role='worker'))
    vault.database = mounted


def test_the_login_that_a_batch_token_tries_is_given_back(
    configure: Configure, vault: Vault
) -> None:
    vault.logins['approle'] = lambda body: True
    vault.denied.add('auth/token/revoke-self')
    integration.check(configure(vault_db_role='worker', **APPROLE))
    assert len(vault.database.made) == len(vault.database.dropped) == 1


def test_the_login_that_the_start_tries_is_given_back(configure: Configure, vault: Vault) -> None:
    integration.check(configure(vault_db_role='worker'))
    assert len(vault.database.made) == len(vault.database.dropped) == 1
