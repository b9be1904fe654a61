"""The result database as a backend of Celery's, with the login that Vault gives."""

from __future__ import annotations

from app.config.configuration import Config, ConfigError
from app.utils.vault import dialect

__all__ = ['result_backend']


def result_backend(config: Config, chosen: str | None) -> str:
    """Return the value for Celery's ``result_backend``: a URL without a login.

    Arguments:
        config: the app's settings.
        chosen: the backend that was asked for; None when none was.

    Raises `ConfigError` when the login has another source as well, or the database has no name.
    """
    given = [n for n in ('result_db_user', 'result_db_pass') if n in config.model_fields_set]
    others = [n.upper() for n in given] + (['CELERY_RESULT_BACKEND'] if chosen else [])
    role = f'VAULT_DB_ROLE={config.vault_db_role}'
    if others:
        raise ConfigError(
            f'{role}: the login of the result database comes from Vault, and '
            f'{" and ".join(others)} would give another: unset one or the other'
        )
    if config.result_db_host is None:
        raise ConfigError(f'{role}: set RESULT_DB_HOST, the database that the role is of')
    dialect.register()
    host, port, name = config.result_db_host, config.result_db_port, config.result_db_name
    return f'db+postgresql+{dialect.DRIVER}://{host}:{port}/{name}'
