"""Measures how fast the monitor moves a backlog to the table of tasks: ``make bench``."""

from __future__ import annotations

import argparse
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


def main() -> None:
    """Print rows per second, a line for each round."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.monitor', description=__doc__)
    parser.add_argument('--tasks', type=int, default=10_000)
    parser.add_argument('--monitors', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=3)
    chosen = parser.parse_args()
    for number in range(chosen.rounds):
        with running_sqs() as sqs, running_postgres() as postgres:
            _send(sqs, chosen.tasks)
            rate = _rate(sqs, postgres, chosen.tasks, chosen.monitors)
            print(f'round {number + 1}: {rate:,.0f} rows/s with {chosen.monitors} monitors')  # noqa: T201


def _send(sqs: SqsServer, count: int) -> None:
    queues = Queues([Queue(queue_name='add', task='add')]).build_celery('local', username=USERNAME)
    app = Celery(set_as_current=False)
    app.config_from_object(Config(queues, SQS_ENDPOINT_URL=sqs.url))
    assert not any(one.error for one in send_batch(app, [app.signature('add', (1, 2))] * count))
    app.close()


def _rate(sqs: SqsServer, postgres: PostgresServer, count: int, monitors: int) -> float:
    environment = {'ENV': 'local', 'USERNAME': USERNAME, 'SQS_ENDPOINT_URL': sqs.url}
    with _running(monitors, environment | postgres.environment), postgres.connect() as connection:

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
def _running(monitors: int, environment: dict[str, str]) -> Iterator[None]:
    started = [
        subprocess.Popen(
            [sys.executable, '-m', 'app.monitor'],
            cwd=ROOT,
            env=bare_environment() | environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(monitors)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == '__main__':
    main()
