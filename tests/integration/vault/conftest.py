"""A Vault over HTTP, and settings that lead there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text

from app.config.configuration import Config
from app.config.configuration.result_backend import vault_backend
from app.utils import vault as integration
from app.utils.role import Role
from app.utils.vault import database
from be_queue.results import engine_options
from tests.support.postgres import PostgresServer
from tests.support.vault import Vault
from tests.support.vault_database import Database
from tests.support.vault_server import running_vault

#: Where the tests' secrets are.
SECRETS = {'secret/worker/db': {'password': 'hush-of-the-database', 'port': 5433, 'none': ''}}

Configure = Callable[..., Config]

APPROLE = {'vault_role_id': 'r', 'vault_secret_id': 'hush-id'}


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


@pytest.fixture
def started(
    vault: Vault, config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Engine]]:
    """Return a function that starts the integration, and makes the database's engine."""
    vault.logins['approle'] = lambda body: True
    for name in ('_shared', '_holder'):
        monkeypatch.setattr(database, name, None)
    monkeypatch.setattr(integration, '_on', False)
    engines = []

    def start(*, pooled: bool = True, **settings: Any) -> Engine:
        read = config(**settings)
        integration.start(read, Role.CONSUMER)
        url = vault_backend(read, 'worker', None)
        options = engine_options(url) if pooled else {'poolclass': NullPool}
        engines.append(create_engine(url.removeprefix('db+'), **options))
        return engines[-1]

    yield start
    vault.hangs = vault.sealed = False
    integration.stop()
    for engine in engines:
        engine.dispose()


def user(engine: Engine) -> str:
    """Return who we are to the database."""
    with engine.connect() as connection:
        return str(connection.scalar(text('SELECT session_user')))


def logs_in(settings: dict[str, Any]) -> bool:
    words = ('token', 'role_id', 'k8s', 'aws')
    return any(word in name for name in settings for word in words)
