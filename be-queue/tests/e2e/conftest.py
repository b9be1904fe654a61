"""The surroundings of a worker, and a server that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import app_tasks
from tests.support.worker import Server, Site


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    """A worker's surroundings, with queues of its own."""
    return Site(tmp_path, sqs.url, postgres.environment)


@pytest.fixture(scope='session')
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Server]:
    """A whole server with default settings, for all tests that leave it running.

    Look for lines with the task's id in its log, and at `Server.counts_from_now`.
    """
    site = Site(tmp_path_factory.mktemp('server'), sqs.url, postgres.environment)
    with site.server(**app_tasks.IMPORTS) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The shared server, which has counted what earlier tests ran."""

    def counted(*states: str) -> float:
        return sum(shared_server.metric('worker_tasks_count_total', state=s) for s in states)

    wait_until(
        lambda: counted('STARTED') == counted('SUCCESS', 'FAILURE', 'RETRY', 'IGNORED', 'REJECTED'),
        'every end is counted',
    )
    return shared_server
