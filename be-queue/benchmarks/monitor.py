"""Measures how fast the monitor writes the rows of a backlog: ``make bench ARGS=monitor``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from celery import Celery
from psycopg.errors import UndefinedTable

from be_queue import Config, Queue, Queues, send_batch
from be_queue.testing.postgres import PostgresServer, running_postgres
from be_queue.testing.processes import bare_environment
from be_queue.testing.sqs import SqsServer, running_sqs

ROOT = Path(__file__).resolve().parents[2]
USERNAME = 'bench'


def run(out: Path, rounds: int, count: int = 3000) -> int:
    """Write the rate and the monitor's CPU time of each round to ``monitor.md``.

    MiniStack looks through the whole queue at each receive and delete: a longer backlog would
    measure that.
    """
    lines = ['| round | rows/s | CPU per row, ms |', '| --- | --: | --: |']
    for number in range(1, rounds + 1):
        with running_sqs() as sqs, running_postgres() as postgres:
            _send(sqs, count)
            rate, cpu = _rate(sqs, postgres, count)
        lines.append(f'| {number} | {rate:,.0f} | {cpu * 1000:.2f} |')
        print(lines[-1], flush=True)  # noqa: T201
    about = f'{count:,} copies a round, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}'
    out.mkdir(parents=True, exist_ok=True)
    (out / 'monitor.md').write_text('\n'.join(['# The monitor', '', about, '', *lines, '']))
    print(f'Written to {out}: monitor.md')  # noqa: T201
    return 0


def _send(sqs: SqsServer, count: int) -> None:
    queues = Queues([Queue(queue_name='add', task='add')]).build_celery('local', username=USERNAME)
    app = Celery(set_as_current=False)
    app.config_from_object(Config(queues, SQS_ENDPOINT_URL=sqs.url))
    assert not any(one.error for one in send_batch(app, [app.signature('add', (1, 2))] * count))
    app.close()


def _rate(sqs: SqsServer, postgres: PostgresServer, count: int) -> tuple[float, float]:
    """Return rows per second, and the monitor's CPU seconds per row."""
    environment = {'ENV': 'local', 'USERNAME': USERNAME, 'SQS_ENDPOINT_URL': sqs.url}
    with (
        _running(environment | postgres.environment) as monitor,
        postgres.connect() as connection,
    ):

        def rows() -> int:
            try:
                return connection.execute('SELECT count(*) FROM tasks').fetchall()[0][0]
            except UndefinedTable:
                return 0

        while not (first := rows()):
            time.sleep(0.01)
        began_at, used = time.monotonic(), sum(monitor.cpu_times()[:2])
        while (last := rows()) < count:
            time.sleep(0.05)
        seconds, used = time.monotonic() - began_at, sum(monitor.cpu_times()[:2]) - used
        return (last - first) / seconds, used / (last - first)


@contextmanager
def _running(environment: dict[str, str]) -> Iterator[psutil.Popen]:
    process = psutil.Popen(
        [sys.executable, '-m', 'app.monitor'],
        cwd=ROOT,
        env=bare_environment() | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
