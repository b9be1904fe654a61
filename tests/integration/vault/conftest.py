"""A Vault over HTTP, and settings that lead there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.config.configuration import Config
from tests.support.postgres import PostgresServer
from tests.support.vault import Vault
from tests.support.vault_database import Database
from tests.support.vault_server import running_vault

#: Where the tests' secrets are.
SECRETS = {'secret/worker/db': {'password': 'hush-of-the-database', 'port': 5433, 'none': ''}}

Configure = Callable[..., Config]


@pytest.fixture
def vault(postgres: PostgresServer) -> Iterator[Vault]:
    with running_vault(database=Database(postgres), kv=dict(SECRETS)) as server:
        yield server


@pytest.fixture
def configure(vault: Vault) -> Configure:
    """Return a function that reads the settings, from Vault and from its arguments."""

    def read(**settings: Any) -> Config:
        login = {'vault_token': vault.new_token()} if not logs_in(settings) else {}
        common = {'vault_addr': vault.url, 'vault_timeout': 5}
        return Config(**{**common, **login, **settings})

    return read


@pytest.fixture
def config(configure: Configure, postgres: PostgresServer) -> Configure:
    """Return a function that reads the settings of a worker whose database is Vault's."""

    def read(**settings: Any) -> Config:
        return configure(
            vault_db_role='worker',
            **{
                'result_db_host': postgres.host,
                'result_db_port': postgres.port,
                **settings,
            },
        )

    return read


def logs_in(settings: dict[str, Any]) -> bool:
    words = ('token', 'role_id', 'k8s', 'aws')
    return any(word in name for name in settings for word in words)
