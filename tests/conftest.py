"""The real servers, and the event loop, that the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub, set_event_loop

from tests.support import prometheus, redis
from tests.support.faulty import FaultySqs, faulty_sqs
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.process import NO_DOTENV
from tests.support.sqs import SqsServer, running_sqs

# Nothing else of the developer's shell, nor of .env, reaches the code under test: neither our own
# settings, nor those that gunicorn, boto3 or psycopg look for.
KEPT = ('PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_', 'PYTHON', 'PYTEST_', 'PIP_')
for _name in [name for name in os.environ if not name.startswith(KEPT)]:
    del os.environ[_name]
os.environ |= NO_DOTENV


# Needs programs that no wheel has; CI has them.
collect_ignore = (
    [] if prometheus.INSTALLED else ['e2e/test_prometheus.py', 'unit/test_deploy_promtool.py']
)


def pytest_report_header() -> list[str]:
    """Say what the tests take for a Redis, and for a Prometheus."""
    return [f'redis: {redis.version()}', f'prometheus: {prometheus.version()}']


@pytest.fixture(scope='session')
def sqs() -> Iterator[SqsServer]:
    """An SQS server for the whole session: give each test queue names of its own."""
    with running_sqs() as server:
        yield server


@pytest.fixture(scope='session')
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session: rows are told apart by task id."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def proxy(sqs: SqsServer) -> Iterator[FaultySqs]:
    """A proxy before the SQS server that makes requests fail when it is told to."""
    with faulty_sqs(sqs.port) as server:
        yield server


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The event loop of this process."""
    hub = Hub()
    set_event_loop(hub)
    yield hub
    hub.close()
    set_event_loop(None)
