from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from celery import Celery, states
from celery.exceptions import Reject
from sqlalchemy import text

from be_queue import SettingError
from be_queue.results import engine_options
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.waiting import wait_until
from be_queue.worker import idempotency
from be_queue.worker.idempotency import KEEPALIVES, LOCK_PART, Guard
from be_queue.worker.logs.context import ContextFilter
from be_queue.worker.logs.formatters import JsonFormatter
from be_queue.worker.settings.worker_config import SOFT_PART

#: Seconds; short, since some tests wait until it is almost over.
LIMIT = 2.0
LONG = {'timelimit': (60, 60)}


def celery_app(backend: str, **settings: object) -> Celery:
    app = Celery('guarded', set_as_current=False)
    app.config_from_object(
        {
            'broker_url': 'memory://',
            'result_backend': backend,
            'override_backends': {'db': 'be_queue.database:DatabaseBackend'},
            'result_extended': True,
            'database_engine_options': engine_options(backend),
            'database_create_tables_at_setup': False,
            'task_time_limit': LIMIT,
            **settings,
        }
    )
    return app


@pytest.fixture
def database(postgres: PostgresServer) -> PostgresServer:
    """The database by a way of our own, which can be cut."""
    return postgres.with_a_proxy_of_its_own()


@pytest.fixture
def app(database: PostgresServer) -> Celery:
    return celery_app(database.backend_url)


def body() -> None:
    """Stand for a task's function: what counts is whether it is reached."""


class Worker:
    """A guard, as each pool process has one, and the task that it guards."""

    def __init__(self, app: Celery) -> None:
        self.runs = 0
        self.body: Callable[[], object] = body
        self.guard = Guard(app)
        self.task = app.task(body, name='task', shared=False)
        self._guarded = self.guard.around(self.task, self._trace)

    def receives(self, task_id: str, attempt: int = 0, **request: object) -> bool:
        """Return whether it runs the task."""
        before = self.runs
        message = {'id': task_id, 'retries': attempt, **request}
        outcome = self._guarded(task_id, (), {}, message)
        assert outcome == ('ran' if self.runs > before else (None, None, None, None))
        return self.runs > before

    def _trace(self, *_: object) -> str:
        self.runs += 1
        self.body()
        return 'ran'


@pytest.fixture
def pair(app: Celery) -> Iterator[list[Worker]]:
    workers = [Worker(app), Worker(app)]
    yield workers
    for worker in workers:
        worker.guard._disconnect()


@pytest.fixture
def worker(pair: list[Worker]) -> Worker:
    return pair[0]


@pytest.fixture
def task_id() -> str:
    return str(uuid.uuid4())


def store(app: Celery, task_id: str, state: str, attempt: int | None = 0) -> None:
    request = SimpleNamespace(
        retries=attempt, task='task', args=(), kwargs={}, hostname='', delivery_info={}
    )
    app.backend.store_result(task_id, None, state, request=request)


@pytest.mark.parametrize('state', [states.SUCCESS, states.FAILURE, states.REVOKED, states.RETRY])
def test_an_attempt_that_is_over_is_skipped_and_a_later_one_is_not(app, worker, task_id, state):
    store(app, task_id, state, attempt=2)
    assert not worker.receives(task_id, attempt=1)
    assert not worker.receives(task_id, attempt=2)
    assert worker.receives(task_id, attempt=3)


@pytest.mark.parametrize('state', [states.STARTED, states.PENDING, 'PROGRESS'])
def test_a_run_that_never_ended_is_no_result(app, worker, task_id, state):
    store(app, task_id, state)
    assert worker.receives(task_id)


def test_a_result_without_a_number_counts_for_every_attempt(app, worker, task_id):
    store(app, task_id, states.SUCCESS, attempt=None)
    assert not worker.receives(task_id, attempt=7)


def test_a_task_that_runs_elsewhere_is_handed_back_in_time(pair, task_id):
    first, second = pair
    announced = []

    @idempotency.not_run.connect
    def note(state: str, **_: object) -> None:
        announced.append(state)

    def meanwhile() -> None:
        with pytest.raises(Reject) as caught:
            second.receives(task_id, timelimit=(LIMIT, LIMIT / 2))
        assert caught.value.requeue

    first.body = meanwhile
    assert first.receives(task_id)
    assert second.runs == 0
    assert announced == [states.REJECTED]


def test_four_waits_outlast_a_run_that_takes_all_its_time():
    assert 4 * LOCK_PART * SOFT_PART > 1


def test_who_waits_for_a_lock_sees_the_result_stored_under_it(app, pair, task_id):
    first, second = pair
    outcomes = []
    waiting = threading.Event()

    def meanwhile() -> None:
        other.start()
        assert waiting.wait(30)
        store(app, task_id, states.SUCCESS)

    def delivered_again() -> None:
        # Signals, which the guard holds off, are the main thread's.
        second.guard._connected()
        waiting.set()
        with second.guard._locked(second.task, task_id, LONG) as over:
            outcomes.append(over)

    other = threading.Thread(target=delivered_again)
    first.body = meanwhile
    assert first.receives(task_id)
    other.join(30)
    assert outcomes == [states.SUCCESS]


def test_a_lock_ends_with_its_run_and_with_its_connection(pair, task_id):
    first, second = pair

    def exits() -> None:
        raise SystemExit

    first.body = exits
    with pytest.raises(SystemExit):
        first.receives(task_id)
    assert second.receives(task_id)

    def meanwhile() -> None:
        first.guard._disconnect()
        assert second.receives(task_id, **LONG)

    first.body = meanwhile
    assert first.receives(task_id)


def test_a_task_waits_for_a_database_that_comes_back(worker, database, task_id, caplog):
    assert worker.receives(str(uuid.uuid4()))
    database.proxy.cut()

    def restore() -> None:
        wait_until(lambda: 'is unavailable' in caplog.text, 'the outage is noticed')
        database.proxy.restore()

    other = threading.Thread(target=restore)
    other.start()
    assert worker.receives(task_id, **LONG)
    other.join()
    assert 'is back' in caplog.text


def test_a_task_does_not_run_without_the_guard_when_the_database_stays_away(
    worker, database, task_id, caplog, monkeypatch
):
    caplog.handler.setFormatter(JsonFormatter('service', 'env', 'release'))
    monkeypatch.setattr(caplog.handler, 'filters', [ContextFilter('worker')])
    database.proxy.cut()
    with pytest.raises(Reject) as caught:
        worker.receives(task_id)
    database.proxy.restore()
    assert caught.value.requeue
    assert worker.runs == 0
    said = [json.loads(line) for line in caplog.text.splitlines()]
    assert task_id in [line['task_id'] for line in said if line.get('action') == 'handed back']


def test_the_lock_of_a_machine_without_power_ends(worker):
    connection = worker.guard._connected()
    rows = connection.execute(
        text('SELECT name, source FROM pg_settings WHERE name LIKE :tcp'), {'tcp': 'tcp_keep%'}
    )
    assert dict(rows.all()) == dict.fromkeys(KEEPALIVES, 'session')


@pytest.mark.parametrize(
    ('backend', 'settings', 'words'),
    [
        ('db+sqlite:///results.sqlite', {}, 'set RESULT_DB_HOST'),
        ('redis://user:hush@host', {}, r"they are in 'redis://user:\*\*\*@host'"),
        ('db+postgresql+psycopg://h/d', {'result_extended': False}, 'set CELERY_RESULT_EXTENDED'),
    ],
)
def test_results_that_the_guard_cannot_use_are_refused(backend, settings, words):
    with pytest.raises(SettingError, match=f'IDEMPOTENCY_GUARD=true: .*{words}'):
        idempotency.install(celery_app(backend, **settings))
