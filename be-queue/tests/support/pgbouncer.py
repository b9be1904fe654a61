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

#: Fewer connections than a worker has processes.
POOL_SIZE = 2


@contextmanager
def running_pgbouncer(postgres: PostgresServer) -> Iterator[int]:
    """Start PgBouncer in transaction mode before ``postgres``; give its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        users, settings = Path(folder) / 'users', Path(folder) / 'pgbouncer.ini'
        users.write_text(f'"{postgres.user}" "{postgres.password}"\n')
        lines = {
            'listen_addr': '127.0.0.1',
            'listen_port': port,
            'unix_socket_dir': '',
            'auth_type': 'plain',
            'auth_file': users,
            'pool_mode': 'transaction',
            'default_pool_size': POOL_SIZE,
            'user': 'nobody' if os.getuid() == 0 else '',
        }
        settings.write_text(
            f'[databases]\n{postgres.name} = host={postgres.host} port={postgres.port}\n'
            '[pgbouncer]\n' + ''.join(f'{name} = {value}\n' for name, value in lines.items())
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
