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

from be_queue.worker.role import Role
from be_queue.worker.vault import database
from be_queue.worker.vault.database import outdated

if TYPE_CHECKING:
    from be_queue.worker.settings import Settings

__all__ = ['check', 'outdated', 'start', 'stop']


def start(config: Settings, role: Role) -> None:
    """Hold credentials of the result database in this process, if Vault gives them."""
    # The processes of the pool use those of their parent, and store results at once.
    if config.vault_addr and config.vault_db_role and role is not Role.POOL:
        database.hold(config, wait=role is Role.CONSUMER)


def stop() -> None:
    """Give the credentials back, within a bounded time."""
    database.release()


def check(config: Settings) -> None:
    """See that Vault gives credentials for the result database, if it is to.

    Raises `SettingError`.
    """
    if config.vault_addr and config.vault_db_role:
        from be_queue.worker.vault.lease_keeper import try_role
        from be_queue.worker.vault.login import at_start

        at_start(config, lambda client: try_role(client, config))
