"""Which backend of Celery's has the results."""

from __future__ import annotations

import os
from pathlib import Path

from be_queue.worker.settings.faults import ConfigError
from be_queue.worker.settings.settings import Settings

__all__ = ['local_backend', 'vault_backend']


def local_backend(folder: Path) -> str:
    """Return a SQLite file in ``folder``, which is made if it is missing.

    Raises `ConfigError` when the folder cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        fault = '' if os.access(folder, os.W_OK) else 'it cannot be written'
    except OSError as error:
        fault = os.strerror(error.errno or 0)
    if fault:
        raise ConfigError(
            f'cannot keep local results in {folder}: {fault}: fix its permissions, or set '
            'RESULT_DB_HOST to a PostgreSQL, or CELERY_RESULT_BACKEND'
        )
    return f'db+sqlite:///{folder / "results.sqlite"}'


def vault_backend(config: Settings, vault_role: str, chosen: str | None) -> str:
    """Return the result database by a URL without a login, which be_queue/worker/vault adds.

    Arguments:
        config: the worker's settings.
        vault_role: the role of Vault's database engine.
        chosen: the backend that was asked for; None when none was.

    Raises `ConfigError` when the login has another source as well, or the database has no name.
    """
    given = [n for n in ('result_db_user', 'result_db_pass') if n in config.model_fields_set]
    others = [n.upper() for n in given] + (['CELERY_RESULT_BACKEND'] if chosen else [])
    role = f'VAULT_DB_ROLE={vault_role}'
    if others:
        raise ConfigError(
            f'{role}: the login of the result database comes from Vault, and '
            f'{" and ".join(others)} would give another: unset one or the other'
        )
    if config.result_db_host is None:
        raise ConfigError(f'{role}: set RESULT_DB_HOST, the database that the role is of')
    host, port, name = config.result_db_host, config.result_db_port, config.result_db_name
    return f'db+postgresql+psycopg://{host}:{port}/{name}'
