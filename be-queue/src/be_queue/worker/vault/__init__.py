"""Credentials of the result database, where Vault gives them: they rotate without a restart.

| file            | content                                                                |
|-----------------|------------------------------------------------------------------------|
| database.py     | connects with the credentials of the moment                            |
| lease_keeper.py | a thread that obtains, prolongs, replaces and revokes them             |
| shared_login.py | passes them on from the worker's main process to its pool              |

Vault's client, and settings that come from Vault, are in be_queue/worker/vault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from be_queue.worker.vault.database import outdated, start, stop

if TYPE_CHECKING:
    from be_queue.worker.settings import Settings

__all__ = ['check', 'outdated', 'start', 'stop']


def check(config: Settings) -> None:
    """See that Vault gives credentials for the result database, if it is to.

    Raises `SettingError`.
    """
    if config.has_database_login:
        from be_queue.worker.vault.lease_keeper import try_role
        from be_queue.worker.vault.login import at_start

        at_start(config, lambda client: try_role(client, config))
