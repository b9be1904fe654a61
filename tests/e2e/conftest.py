"""The surroundings of a worker, and a server that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import app_tasks
from tests.support.postgres import PostgresServer
from tests.support.sqs import SqsServer
from tests.support.worker import Server, Site


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    """A worker's surroundings, with queues of its own."""
    return Site(tmp_path, sqs.url, postgres.environment)


@pytest.fixture(scope='session')
def server(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Server]:
    """A whole server with default settings, for all tests that leave it running.

    Look for lines with the task's id in its log, and at `Server.counts_from_now`.
    """
    site = Site(tmp_path_factory.mktemp('server'), sqs.url, postgres.environment)
    with site.server(**app_tasks.IMPORTS) as server:
        yield server
