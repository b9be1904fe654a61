"""The real servers, and the event loop, that the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub, set_event_loop

from tests.support import prometheus, redis
from tests.support.faulty import FaultySqs, faulty_sqs
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.sqs import SqsServer, running_sqs

# Settings of the developer's shell must not reach the code under test.
OWN_VARIABLES = (
    'CELERY_', 'RESULT_DB_', 'SQS_', 'AWS_', 'ENV', 'USERNAME', 'SERVER_', 'SERVICE_NAME',
    'METRICS_PREFIX', 'PLATFORM_QUEUE_NAME', 'QUEUE_PREFIX', 'PROMETHEUS_', 'prometheus_',
    'RATELIMIT_', 'LOG_', 'RELEASE', 'QUEUE_DEPTH_', 'SENTRY_', 'TRACING_', 'JAEGER_', 'OTEL_',
    'FLUENT_', 'TD_', 'VAULT_', 'IDEMPOTENCY_',
)  # fmt: skip
for _name in [name for name in os.environ if name.startswith(OWN_VARIABLES)]:
    del os.environ[_name]


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
