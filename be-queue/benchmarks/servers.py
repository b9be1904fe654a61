"""The servers of one run, and the proxies before them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from be_queue.testing.postgres import running_postgres
from be_queue.testing.sqs import SqsServer, running_sqs
from benchmarks.contenders import BenchmarkError
from benchmarks.memory import Backlog
from tests.support.redis import RedisServer, running_redis

__all__ = ['Broker', 'Brokers', 'running_proxy', 'running_servers']


class Proxy:
    """A running `benchmarks.delay_proxy`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._read())

    def counts(self) -> Counter[str]:
        """Return the requests so far, by operation."""
        assert self._process.stdin is not None
        self._process.stdin.write('\n')
        self._process.stdin.flush()
        return Counter(json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError('the proxy has ended: see above')
        return line


@dataclass(frozen=True)
class Broker:
    """A server as the contenders reach it.

    Arguments:
        server: behind the proxy; benchmarks fill and watch queues there directly.
        proxy: in front of it, None at no delay.
    """

    server: SqsServer | RedisServer | Backlog
    proxy: Proxy | None = None

    @property
    def url(self) -> str:
        """The URL that a contender connects to."""
        if isinstance(self.server, Backlog):
            return str(self.server.path)
        port = self.proxy.port if self.proxy else self.server.port
        if isinstance(self.server, RedisServer):
            return f'redis://127.0.0.1:{port}/0'
        return f'http://test:test@127.0.0.1:{port}'

    def clear(self) -> None:
        """Remove the messages of a worker that was killed, which would count as another's."""
        if isinstance(self.server, RedisServer):
            self.server.client().flushall()
        elif isinstance(self.server, Backlog):
            self.server.clear()

    def requests(self) -> Counter[str]:
        """Return the requests to SQS so far, by operation; none where there is no proxy."""
        if self.proxy is None or not isinstance(self.server, SqsServer):
            return Counter()
        return self.proxy.counts()


#: By kind, ``sqs``, ``redis`` or ``memory``, and delay in milliseconds.
Brokers = dict[tuple[str, float], Broker]


@contextmanager
def running_proxy(port: int, rtt: float) -> Iterator[Proxy]:
    """Start a proxy before the server on a port of loopback; end it with the block.

    Arguments:
        rtt: round-trip delay in milliseconds.
    """
    process = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.delay_proxy', f'127.0.0.1:{port}', str(rtt)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Proxy(process)
        finally:
            process.kill()


@contextmanager
def running_servers(
    kinds: Collection[str], rtts: Collection[float]
) -> Iterator[tuple[Brokers, dict[str, str]]]:
    """Start a server of each kind, and a proxy before each broker for each delay.

    Yields the brokers, and Celery's ``result_backend`` by kind: ``postgres``, ``redis``, ''.

    At no delay there is no proxy: it takes a part of the two cores, and longer to pass an answer of
    Redis on than Redis to find it. With one, SQS did a sixth less, and Redis two thirds.
    """
    with ExitStack() as stack:
        servers: dict[str, SqsServer | RedisServer] = {'sqs': stack.enter_context(running_sqs())}
        results = {'': 'disabled://'}
        if 'redis' in kinds:
            servers['redis'] = stack.enter_context(running_redis())
            results['redis'] = servers['redis'].url
        if 'postgres' in kinds:
            results['postgres'] = stack.enter_context(running_postgres()).direct_backend_url
        brokers = {
            (kind, rtt): Broker(
                server, stack.enter_context(running_proxy(server.port, rtt)) if rtt else None
            )
            for kind, server in servers.items()
            for rtt in rtts
        }
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        memory = Broker(Backlog(Path(folder) / 'backlog'))
        yield brokers | {('memory', rtt): memory for rtt in rtts}, results
