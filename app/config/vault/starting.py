"""What is asked of Vault at the start: a few tries, in a bounded time, and clear words."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import TypeVar

from app.config.configuration.faults import ConfigError
from app.config.configuration.sections import VaultSettings
from app.config.vault.client import Client
from app.config.vault.errors import AwayError, LoginError, SlowError, VaultError
from app.config.vault.login import Token, login

__all__ = ['TRIES', 'logged_in']

T = TypeVar('T')

#: Tries while Vault does not answer, and seconds between them at most, times their number.
TRIES = 3
PAUSE = 0.5
#: Seconds to log out in, when all others are used up.
LAST = 1.0


def logged_in(settings: VaultSettings, action: Callable[[Client, Token], T]) -> T:
    """Log in, return what ``action`` returns, and end the login.

    It takes three times ``VAULT_TIMEOUT`` at most, and `LAST` to log out. Raises `ConfigError`.
    """
    client = Client(settings, patience=TRIES * settings.vault_timeout)
    fault: AwayError | None = None
    for attempt in range(1, TRIES + 1):
        try:
            token = login(client)
            try:
                return action(client, token)
            finally:
                if token.own:
                    with suppress(VaultError):
                        last = Client(settings, patience=max(LAST, client.left))
                        last.ask('POST', 'auth/token/revoke-self', token=token.text)
        except LoginError as error:
            raise ConfigError(str(error)) from None
        except SlowError as error:
            # What an earlier try has met says more.
            if fault is not None:
                break
            raise ConfigError(
                f'VAULT_ADDR={settings.vault_addr}: {error}, three times VAULT_TIMEOUT: Vault '
                'answers slowly: set a longer VAULT_TIMEOUT'
            ) from None
        except AwayError as error:
            fault = error
        except VaultError as error:
            raise ConfigError(f'VAULT_ADDR={settings.vault_addr}: {error}') from None
        if attempt < TRIES:
            time.sleep(uniform(0, PAUSE * attempt))
    raise ConfigError(
        f'VAULT_ADDR={settings.vault_addr}: {fault}: check that Vault is there, up and unsealed'
    )
