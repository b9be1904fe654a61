"""The real servers, and the event loop, that the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub, set_event_loop

from tests.support import openbao, prometheus, redis
from tests.support.faulty import FaultySqs, faulty_sqs
from tests.support.openbao import OpenBao, running_openbao
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.process import NO_DOTENV
from tests.support.sqs import SqsServer, running_sqs

# Nothing else of the developer's shell, nor of .env, reaches the code under test: neither our own
# settings, nor those that gunicorn, boto3 or psycopg look for.
KEPT = ('PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_', 'PYTHON', 'PYTEST_', 'PIP_')
for _name in [name for name in os.environ if not name.startswith(KEPT)]:
    del os.environ[_name]
os.environ |= NO_DOTENV


# Needs programs that the wheels of dev-requirements.txt do not have; CI has them.
collect_ignore = [
    *([] if prometheus.INSTALLED else ['e2e/test_prometheus.py', 'unit/test_deploy_promtool.py']),
    *([] if openbao.INSTALLED else ['e2e/test_vault.py', 'integration/vault']),
]


def pytest_report_header() -> list[str]:
    """Say what the tests take for a Redis, a Prometheus and a Vault."""
    servers = (redis, prometheus, openbao)
    return [f'{server.__name__.rpartition(".")[2]}: {server.version()}' for server in servers]


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


@pytest.fixture(scope='session')
def running_bao(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenBao]:
    """A Vault for the whole session: take `bao`."""
    with running_openbao(tmp_path_factory.mktemp('openbao')) as server:
        server.database(postgres)
        yield server


@pytest.fixture
def bao(running_bao: OpenBao) -> Iterator[OpenBao]:
    """A Vault without faults; make roles and secrets of your own."""
    running_bao.requests.clear()
    yield running_bao
    running_bao.repair()
    running_bao.faults.clear()


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
