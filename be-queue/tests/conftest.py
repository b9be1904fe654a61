"""The real servers, and the event loop, that the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import botocore.session
import hypothesis
import kombu.pools
import pytest
from kombu.asynchronous import Hub, set_event_loop

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from tests.support import openbao, prometheus, redis
from tests.support.faulty import FaultySqs, faulty_sqs
from tests.support.openbao import OpenBao, running_openbao

# A deadline measures the machine: one that is busy took 200 ms for an example now and then.
hypothesis.settings.register_profile('tests', deadline=None)
hypothesis.settings.load_profile('tests')

# Each session of boto3 reads the same JSON, which takes 75 of the 86 ms of a new client.
botocore.session.create_loader = cache(botocore.session.create_loader)

# Needs programs that the wheels of dev-requirements.txt do not have; CI has them.
collect_ignore = [
    *([] if prometheus.INSTALLED else ['e2e/test_prometheus.py']),
    *([] if openbao.INSTALLED else ['e2e/test_vault.py', 'integration/vault']),
]


def pytest_report_header() -> list[str]:
    """Say what the tests take for a Redis, a Prometheus and a Vault."""
    servers = (redis, prometheus, openbao)
    return [f'{server.__name__.rpartition(".")[2]}: {server.version()}' for server in servers]


@pytest.fixture(scope='module', autouse=True)
def _no_connections_stay() -> Iterator[None]:
    """Close the connections of producers: kombu keeps them, with 8 MB for each boto3 session."""
    yield
    kombu.pools.reset()


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
