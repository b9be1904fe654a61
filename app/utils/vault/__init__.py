"""Credentials of the result database, where Vault gives them: they rotate without a restart.

| file            | content                                                                |
|-----------------|------------------------------------------------------------------------|
| database.py     | connects with the credentials of the moment                            |
| lease_keeper.py | a thread that obtains, prolongs, replaces and revokes them             |
| shared_login.py | passes them on from the worker's main process to its pool              |

Vault's client, and settings that come from Vault, are in app/config/vault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.utils.vault.database import outdated, start, stop

if TYPE_CHECKING:
    from app.config.configuration import Config

__all__ = ['check', 'outdated', 'start', 'stop']


def check(config: Config) -> None:
    """See that Vault gives credentials for the result database, if it is to.

    Raises `SettingError`.
    """
    if config.has_database_login:
        from app.config.vault.login import at_start
        from app.utils.vault.lease_keeper import try_role

        at_start(config, lambda client: try_role(client, config))
