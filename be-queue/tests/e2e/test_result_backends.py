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
from tests.support.worker import Site, Worker

TASKS = 5


@dataclass
class Backend:
    """A result backend that can be taken away."""

    url: str
    take_away: Callable[[], None]
    bring_back: Callable[[], None]
    #: The text of its log line.
    words: str = 'Connection refused'


@contextmanager
def in_sqlite(folder: Path) -> Iterator[Backend]:
    place = folder / 'place'
    url = f'db+sqlite:///{place}/results'
    yield Backend(url, lambda: None, place.mkdir, 'unable to open database file')


@contextmanager
def in_redis(folder: Path) -> Iterator[Backend]:
    with running_redis() as server:
        proxy = Proxy(('127.0.0.1', server.port))
        yield Backend(f'redis://127.0.0.1:{proxy.port}/0', proxy.cut, proxy.restore)
        proxy.cut()


@contextmanager
def on_a_shelf(folder: Path) -> Iterator[Backend]:
    """A backend of a user's own."""
    shut = folder / 'shut'
    url = f'tests.support.shelf:Shelf+file://{folder}'
    yield Backend(url, shut.touch, shut.unlink, 'the shelf is shut')


@pytest.fixture
def redis_backend(tmp_path: Path) -> Iterator[Backend]:
    with in_redis(tmp_path) as backend:
        yield backend


def drained(sqs: SqsServer, site: Site, queue: str) -> bool:
    name = site.queue(queue)
    return sqs.in_flight(name) == sqs.visible(name) == 0


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


def state(site: Site, backend: Backend, task_id: str) -> str:
    with producing(site, backend) as producer:
        return str(producer.backend.get_state(task_id))


@pytest.mark.parametrize('kind', [in_sqlite, in_redis, on_a_shelf])
def test_no_task_is_lost_while_its_results_cannot_be_stored(
    site: Site, sqs: SqsServer, tmp_path: Path, kind: Callable[[Path], Iterator[Backend]]
) -> None:
    with kind(tmp_path) as backend:
        backend.take_away()
        with site.worker(CELERY_RESULT_BACKEND=backend.url) as worker:
            ids = [send(site, 'add', n, n) for n in range(TASKS)]
            wait_until(lambda: in_a_task(worker, backend.words), 'the log has the cause')
            assert worker.metric('worker_tasks_count_total', state='SUCCESS') == 0
            assert not drained(sqs, site, 'add')

            backend.bring_back()
            wait_until(
                lambda: [state(site, backend, id_) for id_ in ids] == ['SUCCESS'] * TASKS,
                'every result is stored',
            )
            wait_until(lambda: drained(sqs, site, 'add'), 'every message is deleted')
            # The counts come from the pool's processes, after the results.
            wait_until(
                lambda: worker.metric('worker_tasks_count_total', state='SUCCESS') == TASKS,
                'each ran once',
            )
            assert sqs.visible(f'err-{site.queue("add")}') == 0


def in_a_task(worker: Worker, words: str) -> bool:
    return any(words in line and 'task_name=add' in line for line in worker.log.splitlines())


def test_chords_and_failures_outlast_an_outage_of_redis(site: Site, redis_backend: Backend) -> None:
    with site.worker(
        CELERY_RESULT_BACKEND=redis_backend.url, CELERY_TASK_SOFT_TIME_LIMIT=0
    ) as worker:
        killed = send(site, 'slow', 600, time_limit=4)
        wait_until(lambda: state(site, redis_backend, killed) == 'STARTED', 'the first runs')
        with producing(site, redis_backend) as producer:
            header = [producer.signature('slow', (1,)) for _ in range(2)]
            body = producer.signature('slow', (0,), immutable=True)
            total = chord(header, body, app=producer).apply_async().id
        wait_until(lambda: worker.metric('worker_tasks_count_total', state='STARTED') >= 2, 'two')
        redis_backend.take_away()
        wait_until(lambda: 'Hard time limit' in worker.log, 'the first is killed')
        redis_backend.bring_back()
        wait_until(lambda: state(site, redis_backend, killed) == 'FAILURE', 'its end is stored')
        wait_until(lambda: state(site, redis_backend, total) == 'SUCCESS', 'the chord is over')


@pytest.mark.parametrize(
    'variables',
    [{'CELERY_RESULT_BACKEND': 'disabled://'}, {'CELERY_TASK_IGNORE_RESULT': 'true'}],
    ids=['disabled', 'ignored'],
)
def test_without_results_nothing_asks_for_a_database(
    site: Site, sqs: SqsServer, variables: dict[str, str]
) -> None:
    nowhere = {'RESULT_DB_HOST': '127.0.0.1', 'RESULT_DB_PORT': free_port()}
    with site.server(**nowhere, **variables, PLATFORM_QUEUE_NAME='') as server:
        assert 'results' not in server.health('/readyz')[1]
        site.producer(PLATFORM_QUEUE_NAME='').send_task('add', (1, 1))
        wait_until(
            lambda: server.metric('worker_tasks_count_total', state='SUCCESS') == 1, 'it ran'
        )
        wait_until(lambda: drained(sqs, site, 'add'), 'its message is deleted')
        assert 'refused' not in server.log


def test_a_backend_that_can_never_work_stops_the_start(site: Site) -> None:
    with site.server(wait=False, CELERY_RESULT_BACKEND='postgresql://me:hush@db/x') as server:
        assert server.wait_ended() == 1
        (line,) = [line for line in server.log.splitlines() if 'CELERY_RESULT_BACKEND' in line]
        assert 'set it to db+postgresql+psycopg://' in line
        assert 'Traceback' not in server.log
        assert 'hush' not in server.log


@pytest.mark.parametrize('seconds', [0, 3600])
def test_a_stop_waits_for_the_backend_as_long_as_it_is_told_to(
    site: Site, sqs: SqsServer, redis_backend: Backend, tmp_path: Path, seconds: int
) -> None:
    """A finished task goes back to its queue, or keeps the worker until its result is stored."""
    with site.worker(
        CELERY_RESULT_BACKEND=redis_backend.url,
        RESULT_BACKEND_SHUTDOWN_TIMEOUT=seconds,
        **ending.IMPORTS,
    ) as worker:
        end = tmp_path / 'end'
        task_id = send(site, ending.BESIDE, str(tmp_path / 'marks'), str(end))
        wait_until(lambda: state(site, redis_backend, task_id) == 'STARTED', 'the task runs')
        redis_backend.take_away()
        end.touch()
        wait_until(
            lambda: f'task_name={ending.BESIDE}' in worker.log, 'its result cannot be stored'
        )
        worker.signal(signal.SIGTERM)
        if seconds:
            wait_until(lambda: 'Warm shutdown' in worker.log, 'it stops')
            redis_backend.bring_back()
        # Without a stop, the task would wait for 540 seconds.
        assert worker.wait_ended(60) == 0
        assert ('goes back to its queue' in worker.log) == (seconds == 0)
        queue = f'{site.username}-local-celery'
        wait_until(lambda: sqs.in_flight(queue) == 0, 'nothing stays hidden')
        assert sqs.visible(queue) == (seconds == 0)
    if seconds:
        assert state(site, redis_backend, task_id) == 'SUCCESS'
