"""What is asked of Vault at the start: a few tries, in a bounded time, and clear words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import TypeVar

from app.config.configuration.faults import ConfigError
from app.config.configuration.sections import VaultSettings
from app.utils.vault.client import Client
from app.utils.vault.errors import (
    AwayError,
    DeniedError,
    FailingError,
    LoginError,
    MissingError,
    RefusedError,
    VaultError,
)
from app.utils.vault.leases import creds_path, new_lease
from app.utils.vault.login import Token, login

__all__ = ['TRIES', 'check_database_role', 'logged_in']

logger = logging.getLogger(__name__)

T = TypeVar('T')

#: Tries while Vault does not answer, and seconds between them at most, times their number.
TRIES = 3
PAUSE = 0.5


def logged_in(settings: VaultSettings, action: Callable[[Client, Token], T]) -> T:
    """Log in, return what ``action`` returns, and end the login.

    It takes three times ``VAULT_TIMEOUT`` at most. Raises `ConfigError`.
    """
    client = Client(settings, patience=TRIES * settings.vault_timeout)
    for attempt in range(1, TRIES + 1):
        try:
            token = login(client)
            try:
                return action(client, token)
            finally:
                if token.own:
                    with suppress(VaultError):
                        client.ask('POST', 'auth/token/revoke-self', token=token.text)
        except LoginError as error:
            raise ConfigError(str(error)) from None
        except AwayError as error:
            fault = error
        except VaultError as error:
            raise ConfigError(f'VAULT_ADDR={settings.vault_addr}: {error}') from None
        if attempt < TRIES:
            time.sleep(uniform(0, PAUSE * attempt))
    raise ConfigError(
        f'VAULT_ADDR={settings.vault_addr}: {fault}: check that Vault is there, up and unsealed'
    )


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
            f'{name}: Vault refuses to read {path}: {error}: give the policy of the login '
            f'path "{path}" {{ capabilities = ["read"] }}'
        ) from None
    except FailingError as error:
        logger.warning('%s: Vault gives no login at %s yet: %s', name, path, error)
        return
    except (MissingError, RefusedError) as error:
        raise ConfigError(
            f'{name}: {path}: {error or "nothing is there"}: check VAULT_DB_MOUNT and the role'
        ) from None
    if not token.own:
        with suppress(VaultError):
            client.ask('POST', 'sys/leases/revoke', {'lease_id': lease.id}, token=token.text)
