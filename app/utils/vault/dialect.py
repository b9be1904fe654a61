"""SQLAlchemy's PostgreSQL by psycopg, with the login of the moment for each new connection.

The URL of such a database names neither user nor password: there is none to be seen, and every
engine made of it, whoever makes it, goes on when the login changes.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from app.utils.vault import database

__all__ = ['VaultDialect']

#: What a server says after it has taken the password, and no other login would change: libpq
#: gives no SQLSTATE at a connect. In another language it counts as a refused login.
OTHER_FAULTS = re.compile(
    r'database ".*" does not exist|connection slots|too many (clients|connections)'
    r'|not currently accepting connections|the database system is'
)


class VaultDialect(PGDialect_psycopg):
    """Connects with the latest login, and gives up connections of one that is over."""

    supports_statement_cache = True

    def connect(self, *args: Any, **parameters: Any) -> Any:
        """Return a new connection of the driver's; raise the driver's error."""
        login = database.login()
        if login is None:
            raise psycopg.OperationalError('Vault has given no login yet: check VAULT_ADDR')
        try:
            return super().connect(
                *args, **(parameters | {'user': login.user, 'password': login.password})
            )
        except psycopg.OperationalError as error:
            # Whatever language the server speaks: it has asked for the password.
            if error.pgconn is not None and error.pgconn.used_password and _of_login(error):
                database.refused(login, str(error))
            raise

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Return whether a connection of the pool may be used; a new one is made if not."""
        return not self.outdated(dbapi_connection) and super().do_ping(dbapi_connection)

    def outdated(self, dbapi_connection: Any) -> bool:
        """Return whether a connection was made with an earlier login, which soon ends."""
        login = database.login()
        return login is not None and bool(dbapi_connection.info.user != login.user)


def _of_login(error: psycopg.OperationalError) -> bool:
    """Return whether another login may help, as far as can be told."""
    return not OTHER_FAULTS.search(str(error))
