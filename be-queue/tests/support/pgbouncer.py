"""A PgBouncer that gives each transaction any of its few connections."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from be_queue.testing.ports import accepts, free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.waiting import wait_until

__all__ = ['PROGRAM', 'running_pgbouncer']

PROGRAM = shutil.which('pgbouncer', path=f'{os.environ.get("PATH", "")}:/usr/sbin')


@contextmanager
def running_pgbouncer(postgres: PostgresServer) -> Iterator[int]:
    """Start PgBouncer in transaction mode before ``postgres``; give its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        users, settings = Path(folder) / 'users', Path(folder) / 'pgbouncer.ini'
        users.write_text(f'"{postgres.user}" "{postgres.password}"\n')
        settings.write_text(
            f'[databases]\n{postgres.name} = host={postgres.host} port={postgres.port}\n'
            f'[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n'
            f'auth_type = plain\nauth_file = {users}\n'
            # Fewer connections than a worker has processes.
            'pool_mode = transaction\ndefault_pool_size = 2\n'
            f'user = {"nobody" if os.getuid() == 0 else ""}\n'
        )
        Path(folder).chmod(0o755)
        process = subprocess.Popen(
            [str(PROGRAM), str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: accepts(port), 'PgBouncer listens')
            yield port
        finally:
            process.kill()
            process.wait()
