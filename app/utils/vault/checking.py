"""Sees at the start that Vault gives a login for the result database."""

from __future__ import annotations

import logging
from contextlib import suppress

from app.config.configuration import ConfigError
from app.config.configuration.sections import VaultSettings
from app.config.vault.client import Client
from app.config.vault.errors import (
    DeniedError,
    FailingError,
    MissingError,
    RefusedError,
    VaultError,
)
from app.config.vault.login import Token
from app.config.vault.starting import logged_in
from app.utils.vault.lease import creds_path, new_lease

__all__ = ['check_database_role']

logger = logging.getLogger(__name__)


def check_database_role(settings: VaultSettings) -> None:
    """See that Vault gives a login for the result database; it is given back.

    A database that is away gets a warning: the worker starts without one, and results wait.

    Raises `ConfigError`.
    """
    logged_in(settings, _try_database_role)


def _try_database_role(client: Client, token: Token) -> None:
    path = creds_path(client.settings)
    name = f'VAULT_DB_ROLE={client.settings.vault_db_role}'
    try:
        lease, _, _ = new_lease(client.ask('GET', path, token=token.text), path)
    except DeniedError as error:
        raise ConfigError(
            f'{name}: Vault refuses to read {path}: {error}: {token.advice(path)}'
        ) from None
    except FailingError as error:
        logger.warning('%s: Vault gives no login at %s yet: %s', name, path, error)
        return
    except (MissingError, RefusedError) as error:
        raise ConfigError(f'{name}: {path}: {error}: check VAULT_DB_MOUNT and the role') from None
    # Though a token of our own is revoked next: that may be refused, as it is for batch tokens.
    with suppress(VaultError):
        client.ask('POST', 'sys/leases/revoke', {'lease_id': lease.id}, token=token.text)
