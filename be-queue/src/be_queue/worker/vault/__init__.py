"""Settings, and rotating credentials of the result database, from HashiCorp Vault.

| file            | content                                                                |
|-----------------|------------------------------------------------------------------------|
| settings.py     | where Vault is, how to log in, and which settings come from there      |
| source.py       | reads those settings                                                   |
| client.py       | requests to Vault that end in time, and their errors in one line       |
| login.py        | logs in to Vault, by one of four methods                               |
| database.py     | connects with the credentials of the moment                            |
| lease_keeper.py | a thread that obtains, renews, replaces and revokes them               |
| shared_login.py | passes them on from the worker's main process to its pool              |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from be_queue import SettingError
from be_queue.worker.vault.database import outdated, start, stop

if TYPE_CHECKING:
    import hvac  # type: ignore[import-untyped]

    from be_queue.worker.settings import Settings

__all__ = ['check', 'logged_in', 'outdated', 'start', 'stop']


@contextmanager
def logged_in(config: Settings | None = None) -> Iterator[hvac.Client]:
    """Log in as the settings ``VAULT_*`` say, and log out at the end of the block.

    Each request ends after ``VAULT_TIMEOUT``; what it raises is hvac's.

    Arguments:
        config: the settings; None for those of this process.

    Raises `SettingError` for a setting that cannot be used, and `VaultError` when Vault is
    unavailable or refuses the login.
    """
    from be_queue.worker.settings import current
    from be_queue.worker.vault.client import Session, connect, explained
    from be_queue.worker.vault.login import log_in, log_out

    config = config or current()
    if not config.vault_addr:
        raise SettingError('VAULT_ADDR is not set: there is no Vault to log in to')
    vault = connect(config, Session(config))
    try:
        log_in(vault, config)
    except Exception as error:  # noqa: BLE001  (an answer that is not Vault's raises any)
        raise explained(error) from None
    try:
        yield vault
    finally:
        with suppress(Exception):
            log_out(vault, config)


def check(config: Settings) -> None:
    """See that Vault gives credentials for the result database, if it is to.

    Raises `SettingError`.
    """
    if config.has_database_login:
        from be_queue.worker.vault.lease_keeper import try_role
        from be_queue.worker.vault.login import at_start

        at_start(config, lambda client: try_role(client, config))
