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
