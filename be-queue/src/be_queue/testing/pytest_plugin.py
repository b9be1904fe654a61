"""pytest's fixtures for a service: a real SQS server, a real PostgreSQL, a real worker.

Enable it in pyproject.toml, so that pytest loads it before the service, and define the fixture
`service` in ``tests/conftest.py``:

    [tool.pytest.ini_options]
    addopts = "-p be_queue.testing.pytest_plugin"

    @pytest.fixture(scope='session')
    def service() -> Service:
        return Service(load_config(), QUEUES)

Importing it deletes the variables of the developer's shell and disables ``.env``: tests see the
defaults.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from be_queue.testing.postgres import PostgresServer, running_postgres
from be_queue.testing.processes import NO_DOTENV
from be_queue.testing.site import Server, Service, Site
from be_queue.testing.sqs import SqsServer, running_sqs

__all__ = ['postgres', 'server', 'service', 'site', 'sqs']

#: Prefixes of the variables that are kept.
KEPT = ('PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_', 'PYTHON', 'PYTEST_', 'PIP_')
for _name in [name for name in os.environ if not name.startswith(KEPT)]:
    del os.environ[_name]
os.environ |= NO_DOTENV


@pytest.fixture(scope='session')
def service() -> Service:
    """The service under test: define this fixture in tests/conftest.py."""
    raise NotImplementedError('define the fixture `service` in tests/conftest.py')


@pytest.fixture(scope='session')
def sqs() -> Iterator[SqsServer]:
    """An SQS server for the whole session; each `site` has queues of its own."""
    with running_sqs() as server:
        yield server


@pytest.fixture(scope='session')
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session; rows are told apart by task id."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def site(service: Service, tmp_path: Path, sqs: SqsServer, postgres: PostgresServer) -> Site:
    """A worker's surroundings: `site.worker()` starts it, `site.producer()` sends to it."""
    return Site(service, tmp_path, sqs.url, postgres.environment)


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    """The whole server, ready: web server, worker and monitor."""
    with site.server() as started:
        yield started
