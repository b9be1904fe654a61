"""Users of a real PostgreSQL, made and dropped as Vault's database engine does."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path

from psycopg import sql

from tests.support.postgres import PostgresServer

#: Asks users whose name begins like ours for their password: the server takes anybody else's word.
RULE = 'local all /^v- scram-sha-256\n'


class Database:
    """Makes and drops users.

    Arguments:
        postgres: where; its own user owns what they make.
    """

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self.made: list[str] = []
        self.dropped: list[str] = []
        with postgres.connect() as connection:
            (name,) = connection.execute('SHOW hba_file').fetchone() or ('',)
            rules = Path(name)
            if RULE not in rules.read_text():
                rules.write_text(RULE + rules.read_text())
                connection.execute('SELECT pg_reload_conf()')

    def make(self, seconds: float) -> tuple[str, str]:
        """Return name and password of a new user, who may log in for so long."""
        user, password = f'v-worker-{secrets.token_hex(8)}', secrets.token_urlsafe(18)
        name, group = sql.Identifier(user), sql.Identifier(self._postgres.user)
        with self._postgres.connect() as connection:
            connection.execute(
                sql.SQL('CREATE ROLE {} LOGIN PASSWORD {} VALID UNTIL {} IN ROLE {}').format(
                    name, password, _end(seconds), group
                )
            )
            # Else tables belong to whoever came first, and go with him.
            connection.execute(sql.SQL('ALTER ROLE {} SET role = {}').format(name, group))
        self.made.append(user)
        return user, password

    def prolong(self, user: str, seconds: float) -> None:
        """Let the user log in for longer."""
        with self._postgres.connect() as connection:
            connection.execute(
                sql.SQL('ALTER ROLE {} VALID UNTIL {}').format(sql.Identifier(user), _end(seconds))
            )

    def drop(self, user: str) -> None:
        """Drop the user and end its sessions."""
        with self._postgres.connect() as connection:
            name = sql.Identifier(user)
            connection.execute(sql.SQL('ALTER ROLE {} NOLOGIN').format(name))
            connection.execute(
                'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s', [user]
            )
            connection.execute(sql.SQL('DROP ROLE {}').format(name))
        self.dropped.append(user)


def _end(seconds: float) -> str:
    return str(datetime.now(timezone.utc) + timedelta(seconds=seconds))
