"""The surroundings of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from tests.support.worker import Site


@pytest.fixture
def site(tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    """A worker's surroundings, with queues of its own."""
    return Site(tmp_path, sqs.url, postgres.environment)
