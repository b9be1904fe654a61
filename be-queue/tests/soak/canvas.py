"""How long chains and chords take, beside Celery on Redis with the same result database."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord

from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from benchmarks.contenders import redis_missing
from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.redis import running_redis
from tests.support.worker import Site

__all__ = ['compared']

REPEATS = 5
SHAPES: dict[str, Callable[[Any, Any], Any]] = {
    'chain of 12': lambda add, _: chain(add.s(0, 1), *(add.s(1) for _ in range(11))),
    'chord of 20': lambda add, total: chord([add.s(n, 1) for n in range(20)], total.s()),
}


def compared(folder: Path, sqs: SqsServer, postgres: PostgresServer) -> Iterator[str]:
    """Yield a line for each shape and broker: seconds from sending it to its result."""
    yield f'{"":14}{"":10}{"median":>10}{"longest":>10}'
    ours = {'broker_transport': 'be_queue.transport:Transport', 'SQS_ENDPOINT_URL': sqs.url}
    found = {}
    for shape, times in _measured(folder / 'sqs', ours, postgres):
        found[shape] = times
        yield _line(shape, 'SQS', times)
    missing = redis_missing()
    if missing:
        yield f'Redis is left out: {missing}'
        return
    with running_redis() as redis:
        settings = {
            'broker_transport': 'redis',
            'broker_url': f'redis://127.0.0.1:{redis.port}/0',
        }
        for shape, times in _measured(folder / 'redis', settings, postgres):
            yield _line(shape, 'Redis', times)
            ratio = statistics.median(found[shape]) / statistics.median(times)
            yield f'{shape:14}{"ratio":10}{ratio:>10.2f}'


def _measured(
    folder: Path, settings: dict[str, str], postgres: PostgresServer
) -> Iterator[tuple[str, list[float]]]:
    folder.mkdir()
    site = Site(folder, settings.get('SQS_ENDPOINT_URL', ''), postgres.environment)
    app = build(site.username, **settings, **postgres.environment)
    variables = {
        name if name.isupper() else f'CELERY_{name.upper()}': value
        for name, value in settings.items()
    }
    with own_worker(site, **variables):
        for shape, make in SHAPES.items():
            _seconds(app, make)  # the first one makes queues and tables
            yield shape, [_seconds(app, make) for _ in range(REPEATS)]


def _seconds(app: Celery, make: Callable[[Any, Any], Any]) -> float:
    canvas = make(app.tasks['tests.add'], app.tasks['tests.total'])
    started = time.monotonic()
    canvas.apply_async().get(timeout=120, interval=0.02)
    return time.monotonic() - started


def _line(shape: str, broker: str, times: list[float]) -> str:
    return f'{shape:14}{broker:10}{statistics.median(times):>8.2f} s{max(times):>8.2f} s'
