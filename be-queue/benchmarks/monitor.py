"""Measures how fast the monitor writes the rows of a backlog: ``make bench ARGS=monitor``."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery
from psycopg.errors import UndefinedTable

from be_queue import Config, Queue, Queues, send_batch
from be_queue.testing.postgres import PostgresServer, running_postgres
from be_queue.testing.processes import bare_environment
from be_queue.testing.sqs import SqsServer, running_sqs

ROOT = Path(__file__).resolve().parents[2]
USERNAME = 'bench'


def run(rounds: int, count: int = 10_000) -> int:
    """Print rows per second, a line for each round."""
    for number in range(rounds):
        with running_sqs() as sqs, running_postgres() as postgres:
            _send(sqs, count)
            rate = _rate(sqs, postgres, count)
            print(f'round {number + 1}: {rate:,.0f} rows/s', flush=True)  # noqa: T201
    return 0


def _send(sqs: SqsServer, count: int) -> None:
    queues = Queues([Queue(queue_name='add', task='add')]).build_celery('local', username=USERNAME)
    app = Celery(set_as_current=False)
    app.config_from_object(Config(queues, SQS_ENDPOINT_URL=sqs.url))
    assert not any(one.error for one in send_batch(app, [app.signature('add', (1, 2))] * count))
    app.close()


def _rate(sqs: SqsServer, postgres: PostgresServer, count: int) -> float:
    environment = {'ENV': 'local', 'USERNAME': USERNAME, 'SQS_ENDPOINT_URL': sqs.url}
    with _running(environment | postgres.environment), postgres.connect() as connection:

        def rows() -> int:
            try:
                return connection.execute('SELECT count(*) FROM tasks').fetchall()[0][0]
            except UndefinedTable:
                return 0

        while not (first := rows()):
            time.sleep(0.01)
        began_at = time.monotonic()
        while (last := rows()) < count:
            time.sleep(0.05)
        return (last - first) / (time.monotonic() - began_at)


@contextmanager
def _running(environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, '-m', 'app.monitor'],
        cwd=ROOT,
        env=bare_environment() | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()
