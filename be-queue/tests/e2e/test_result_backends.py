"""Results in each kind of backend, and in none: an unavailable one costs no task."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery, chord

from be_queue.testing.ports import free_port
from be_queue.testing.proxy import Proxy
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import ending
from tests.support.redis import running_redis
from tests.support.worker import Site

TASKS = 5


@dataclass
class Backend:
    """A result backend that can be taken away."""

    url: str
    take_away: Callable[[], None]
    bring_back: Callable[[], None]
    #: The text of its log line.
    words: str = ''


def in_sqlite(folder: Path) -> Backend:
    place = folder / 'place'
    url = f'db+sqlite:///{place}/results'
    return Backend(url, lambda: None, place.mkdir, 'unable to open database file')


def on_a_shelf(folder: Path) -> Backend:
    """A backend of a user's own."""
    shut = folder / 'shut'
    url = f'tests.support.shelf:Shelf+file://{folder}'
    return Backend(url, shut.touch, shut.unlink, 'the shelf is shut')


@pytest.fixture(scope='module')
def redis_backend() -> Iterator[Backend]:
    with running_redis() as server:
        proxy = Proxy(('127.0.0.1', server.port))
        yield Backend(f'redis://127.0.0.1:{proxy.port}/0', proxy.cut, proxy.restore)
        proxy.cut()


@pytest.fixture
def redis(redis_backend: Backend) -> Iterator[Backend]:
    yield redis_backend
    redis_backend.take_away()
    redis_backend.bring_back()


def wait_drained(sqs: SqsServer, queue: str) -> None:
    wait_until(lambda: sqs.in_flight(queue) == sqs.visible(queue) == 0, 'every message is deleted')


def send(site: Site, task: str, *args: object, **options: object) -> str:
    """Send a task from a program that does not look at results; return its id."""
    return str(site.producer(result_backend='disabled://').send_task(task, args, **options).id)


@contextmanager
def producing(site: Site, backend: Backend) -> Iterator[Celery]:
    """Give a producer that looks at results; close its connections to Redis with the block."""
    app = site.producer(result_backend=backend.url)
    try:
        yield app
    finally:
        if backend.url.startswith('redis:'):
            # Results that are deleted later unsubscribe, which takes seconds without Redis.
            app.backend.result_consumer.subscribed_to.clear()
            app.backend.result_consumer.stop()
            app.backend.client.connection_pool.disconnect()


def wait_for_state(site: Site, backend: Backend, state: str, *task_ids: str) -> None:
    with producing(site, backend) as producer:
        wait_until(
            lambda: {producer.backend.get_state(task_id) for task_id in task_ids} == {state},
            f'{state} is stored',
        )


@pytest.mark.parametrize('kind', [in_sqlite, on_a_shelf])
def test_no_task_is_lost_while_its_results_cannot_be_stored(
    site: Site, sqs: SqsServer, tmp_path: Path, kind: Callable[[Path], Backend]
) -> None:
    backend, queue = kind(tmp_path), site.queue('add')
    backend.take_away()
    with site.worker(CELERY_RESULT_BACKEND=backend.url) as worker:
        ids = [send(site, 'add', n, n) for n in range(TASKS)]
        wait_until(
            lambda: any(
                backend.words in line and 'task_name=add' in line
                for line in worker.log.splitlines()
            ),
            'the log has the cause',
        )
        assert worker.metric('worker_tasks_count_total', state='SUCCESS') == 0
        assert sqs.in_flight(queue) > 0

        backend.bring_back()
        wait_for_state(site, backend, 'SUCCESS', *ids)
        wait_drained(sqs, queue)
        # The counts come from the pool's processes, after the results.
        wait_until(
            lambda: worker.metric('worker_tasks_count_total', state='SUCCESS') == TASKS,
            'each ran once',
        )
        assert sqs.visible(f'err-{queue}') == 0


def test_chords_and_failures_outlast_an_outage_of_redis(site: Site, redis: Backend) -> None:
    with site.worker(CELERY_RESULT_BACKEND=redis.url, CELERY_TASK_SOFT_TIME_LIMIT=0) as worker:
        killed = send(site, 'slow', 600, time_limit=4)
        wait_for_state(site, redis, 'STARTED', killed)
        with producing(site, redis) as producer:
            header = [producer.signature('slow', (1,)) for _ in range(2)]
            body = producer.signature('slow', (0,), immutable=True)
            total = chord(header, body, app=producer).apply_async().id
        wait_until(lambda: worker.metric('worker_tasks_count_total', state='STARTED') >= 2, 'two')
        redis.take_away()
        waiting = [send(site, 'add', n, n) for n in range(TASKS)]
        wait_until(lambda: 'Hard time limit' in worker.log, 'the first is killed')
        wait_until(lambda: 'Connection refused' in worker.log, 'the log has the cause')
        redis.bring_back()
        wait_for_state(site, redis, 'FAILURE', killed)
        wait_for_state(site, redis, 'SUCCESS', total, *waiting)


def test_without_results_nothing_asks_for_a_database(site: Site, sqs: SqsServer) -> None:
    nowhere = {'RESULT_DB_HOST': '127.0.0.1', 'RESULT_DB_PORT': free_port()}
    with site.server(
        CELERY_RESULT_BACKEND='disabled://', PLATFORM_QUEUE_NAME='', **nowhere
    ) as server:
        assert 'results' not in server.health('/readyz')[1]
        site.producer(PLATFORM_QUEUE_NAME='').send_task('add', (1, 1))
        wait_until(
            lambda: server.metric('worker_tasks_count_total', state='SUCCESS') == 1, 'it ran'
        )
        wait_drained(sqs, site.queue('add'))
        assert 'refused' not in server.log


@pytest.mark.parametrize('seconds', [0, 3600])
def test_a_stop_waits_for_the_backend_as_long_as_it_is_told_to(
    site: Site, sqs: SqsServer, redis: Backend, tmp_path: Path, seconds: int
) -> None:
    """A finished task goes back to its queue, or keeps the worker until its result is stored."""
    with site.worker(
        CELERY_RESULT_BACKEND=redis.url,
        RESULT_BACKEND_SHUTDOWN_TIMEOUT=seconds,
        **ending.IMPORTS,
    ) as worker:
        end = tmp_path / 'end'
        task_id = send(site, ending.BESIDE, str(tmp_path / 'marks'), str(end))
        wait_for_state(site, redis, 'STARTED', task_id)
        redis.take_away()
        end.touch()
        wait_until(
            lambda: f'task_name={ending.BESIDE}' in worker.log, 'its result cannot be stored'
        )
        worker.signal(signal.SIGTERM)
        if seconds:
            wait_until(lambda: 'Warm shutdown' in worker.log, 'it stops')
            redis.bring_back()
        # Without a stop, the task would wait for 540 seconds.
        assert worker.wait_ended(60) == 0
        assert ('goes back to its queue' in worker.log) == (seconds == 0)
        queue = f'{site.username}-local-celery'
        wait_until(lambda: sqs.in_flight(queue) == 0, 'nothing stays hidden')
        assert sqs.visible(queue) == (seconds == 0)
    if seconds:
        wait_for_state(site, redis, 'SUCCESS', task_id)
