"""The login of the result database, where Vault gives it: it rotates without a restart.

| file        | what                                                        |
|-------------|-------------------------------------------------------------|
| checking.py | sees at the start that Vault gives one                      |
| holder.py   | a thread that holds it, and tries again while it fails      |
| leases.py   | what is due: prolongs or replaces it and its token          |
| lease.py    | one login, for a time                                       |
| patience.py | how long a login is kept that the database refuses          |
| trouble.py  | what the log says while there is none                       |
| shared.py   | keeps it in memory that the pool's processes share          |
| database.py | has it in this process                                      |
| dialect.py  | connects with it                                            |

Vault itself, and settings that come from there, are in app/config/vault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.utils.role import Role

if TYPE_CHECKING:  # it reads this package for its own settings
    from sqlalchemy import Connection

    from app.config.configuration import Config

__all__ = ['check', 'outdated', 'start', 'stop']

_on = False


def start(config: Config, role: Role) -> None:
    """Hold a login of the result database in this process, if Vault gives it."""
    global _on
    if not (config.vault_addr and config.vault_db_role):
        return
    from app.utils.vault import database

    _on = True
    if role is Role.POOL:
        database.inherit()
    else:
        # The processes of the pool are forked next, and store results at once.
        database.hold(config, wait=role is Role.CONSUMER)


def stop() -> None:
    """Give the login back, within a bounded time."""
    if _on:
        from app.utils.vault import database

        database.release()


def check(config: Config) -> None:
    """See at the start that Vault gives a login for the result database, if it is to.

    Raises `ConfigError`.
    """
    if config.vault_addr and config.vault_db_role:
        from app.utils.vault.checking import check_database_role

        check_database_role(config)


def outdated(connection: Connection) -> bool:
    """Return whether a connection has a login of Vault's that another has replaced."""
    is_outdated = getattr(connection.dialect, 'outdated', None)
    return is_outdated is not None and bool(is_outdated(connection.connection.dbapi_connection))
