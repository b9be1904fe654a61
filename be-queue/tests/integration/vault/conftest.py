"""A real Vault, and settings that lead there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text

from app.config.configuration import Config
from be_queue.results import engine_options
from be_queue.testing.postgres import PostgresServer
from be_queue.worker import vault
from be_queue.worker.role import Role
from be_queue.worker.settings.worker_config import vault_backend
from be_queue.worker.vault import database, lease_keeper
from tests.support.openbao import OpenBao

Read = Callable[..., Config]

#: The policy of a worker.
POLICY = 'secret/data/worker/* database/creds/*'
#: A value for VAULT_SECRETS.
PASSWORD = 'RESULT_DB_PASS=worker/db#password'


@pytest.fixture
def read(bao: OpenBao) -> Read:
    """Return a function that reads the settings, from Vault and from its arguments."""

    def configure(**settings: Any) -> Config:
        words = ('token', 'role_id', 'k8s', 'aws')
        if not any(word in name for name in settings for word in words):
            settings['vault_token'] = bao.token(POLICY)
        return Config(**{'vault_addr': bao.url, 'vault_timeout': 5, **settings})

    return configure


@pytest.fixture(autouse=True)
def secret(bao: OpenBao) -> None:
    """Have a secret at `PASSWORD`."""
    bao.root.secrets.kv.v2.create_or_update_secret('worker/db', {'password': 'hush-password'})


@pytest.fixture
def started(
    bao: OpenBao, read: Read, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Engine]]:
    """Return a function that starts the integration, and makes the database's engine.

    Arguments ``ttl`` and ``max_ttl`` are those of the database's users, others are settings.
    """
    for name in ('_config', '_shared', '_keeper'):
        monkeypatch.setattr(database, name, None)
    # A login that the database refuses is replaced at once.
    monkeypatch.setattr(lease_keeper, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(lease_keeper, 'REFUSED_SECONDS', (0, *lease_keeper.REFUSED_SECONDS[1:]))
    engines = []

    def start(*, pooled: bool = True, **settings: Any) -> Engine:
        times = {name: settings.pop(name) for name in ('ttl', 'max_ttl') if name in settings}
        role = bao.database_role(f'role-{uuid.uuid4().hex[:8]}', **times)
        place = {'result_db_host': postgres.host, 'result_db_port': postgres.port}
        config = read(vault_db_role=role, **(place | settings))
        vault.start(config, Role.CONSUMER)
        url = vault_backend(config, None)
        options = engine_options(url) if pooled else {'poolclass': NullPool}
        engines.append(create_engine(url.removeprefix('db+'), **options))
        return engines[-1]

    yield start
    bao.repair()
    vault.stop()
    for engine in engines:
        engine.dispose()


def user(engine: Engine) -> str:
    """Return who we are to the database."""
    with engine.connect() as connection:
        return str(connection.scalar(text('SELECT session_user')))
