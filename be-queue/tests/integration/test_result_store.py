"""Results in real databases: the statements, their number, and texts that PostgreSQL refuses."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task, states
from celery.app.task import Context
from celery.app.trace import build_tracer
from celery.result import AsyncResult
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from app.tasks.base_task import FixedDelayTask
from be_queue.database import PREPARE_THRESHOLD
from be_queue.results import engine_options
from be_queue.testing.postgres import PostgresServer
from tests.support import pgbouncer

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def log_nothing() -> Iterator[None]:
    # pytest-xdist cannot hand on half a pair, neither in what was logged nor in a test's name.
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def app_with(url: str, backend: str = 'be_queue.database') -> Celery:
    """Return an app with the database backend of workers and producers, or with Celery's own."""
    app = Celery(backend=f'{backend}:DatabaseBackend+{url}', set_as_current=False)
    app.conf.update(
        broker_url='memory://',
        database_create_tables_at_setup=False,
        database_engine_options=engine_options(url),
        result_extended=True,
    )
    return app


@contextmanager
def pool_process(url: str) -> Iterator[Any]:
    """A backend as a pool process has it, with a connection that it keeps."""
    backend = app_with(url).backend
    backend.session_manager.forked = True
    yield backend
    backend.session_manager.invalidate(url)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.backend_url.removeprefix('db+')


@pytest.fixture
def app(url: str) -> Celery:
    return app_with(url)


def attempt(task: Task, task_id: str, retries: int, **delivery: Any) -> AsyncResult:
    """Run the task as a pool process does; return its result as it is stored then."""
    request = {'id': task_id, 'retries': retries, 'delivery_info': {'routing_key': 'q'} | delivery}
    build_tracer(task.name, task, app=task.app)(task_id, (), {}, request=request)
    return AsyncResult(task_id, app=task.app)


def test_text_that_postgresql_refuses_is_stored(app: Celery) -> None:
    text, stored = 'a\0b\ud800c', 'a\N{REPLACEMENT CHARACTER}b?c'

    @app.task(base=FixedDelayTask, name='odd', bind=True, shared=False)
    def odd(self: Task) -> str:
        if self.request.retries == 2:
            return text
        raise [ConnectionError, ValueError][self.request.retries](text)

    task_id = uuid.uuid4().hex
    result = attempt(odd, task_id, 0, routing_key=text)
    assert result.state == states.RETRY
    assert type(result.result) is ConnectionError
    result = attempt(odd, task_id, 1, routing_key=100 * text)  # longer than its column
    assert result.state == states.FAILURE
    assert type(result.result) is ValueError
    assert result.result.args == (text,)
    assert result.traceback.splitlines()[-1] == f'ValueError: {stored}'
    assert attempt(odd, task_id, 2).get() == text


@pytest.fixture(params=['postgresql', 'sqlite'])
def stored_in(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Any]:
    """A backend as a pool process has it, and plain Celery's on the same database."""
    url = url if request.param == 'postgresql' else f'sqlite:///{tmp_path / "results"}'
    with pool_process(url) as ours:
        yield ours, app_with(url, 'celery.backends.database').backend


def store(backend: Any, task_id: str, result: Any, state: str) -> None:
    delivery = {'routing_key': 'q'}
    request = Context(id=task_id, task='t', args=[1], kwargs={}, retries=2, delivery_info=delivery)
    backend.store_result(task_id, result, state, request=request)


def test_plain_celery_reads_what_is_stored_and_a_success_stays(stored_in: Any) -> None:
    ours, plain = stored_in
    task_id = uuid.uuid4().hex
    store(ours, task_id, {'pid': 1}, states.STARTED)
    store(ours, task_id, [1, 2], states.SUCCESS)
    for backend in (ours, plain):
        meta = backend.get_task_meta(task_id, cache=False)
        assert (meta['status'], meta['result'], meta['args']) == (states.SUCCESS, [1, 2], [1])
        assert (meta['name'], meta['queue'], meta['retries']) == ('t', 'q', 2)
        assert abs(meta['date_done'] - datetime.now(timezone.utc).replace(tzinfo=None)) < HOUR
    # As in Celery, whatever is stored later.
    store(ours, task_id, ValueError('late'), states.FAILURE)
    assert plain.get_task_meta(task_id, cache=False)['result'] == [1, 2]


def test_a_failure_outlasts_a_retry_that_is_stored_late(stored_in: Any) -> None:
    ours, _ = stored_in
    task_id, error = uuid.uuid4().hex, ValueError('x')
    store(ours, task_id, error, states.FAILURE)
    store(ours, task_id, error, states.RETRY)
    assert ours.get_state(task_id) == states.FAILURE
    # The message is delivered again, or somebody sends the task once more.
    store(ours, task_id, {'pid': 1}, states.STARTED)
    store(ours, task_id, error, states.RETRY)
    assert ours.get_state(task_id) == states.RETRY


def number(backend: Any, query: str) -> int:
    with backend.connect() as kept:
        return int(kept.exec_driver_sql(query).scalar())


PREPARED = 'SELECT count(*) FROM pg_prepared_statements'
LAST_NUMBER = 'SELECT last_value FROM task_id_sequence'


def store_many(backends: list[Any]) -> set[str]:
    """Store enough results for a statement to be prepared, in turn; return the ids."""
    ids = [uuid.uuid4().hex for _ in range(2 * PREPARE_THRESHOLD * len(backends))]
    for n, task_id in enumerate(ids):
        backend = backends[n % len(backends)]
        backend.refusals = (DBAPIError,)  # all are stored at the first try
        backend.store_result(task_id, {'pid': 1}, states.STARTED)
        backend.store_result(task_id, n, states.SUCCESS)
    return set(ids)


def test_each_state_is_one_round_trip_of_one_prepared_statement(url: str, tmp_path: Path) -> None:
    messages = tmp_path / 'messages'
    with pool_process(url) as backend, messages.open('wb') as trace:
        first = number(backend, LAST_NUMBER)
        ids = store_many([backend])
        # A row takes one number, however many of its states are stored.
        assert number(backend, LAST_NUMBER) <= first + len(ids)
        assert number(backend, PREPARED) == 1
        with backend.connect() as kept:
            server = kept.connection.driver_connection.pgconn
        server.trace(trace.fileno())
        store_many([backend])
        server.untrace()
    sent = [line.split('\t') for line in messages.read_text().splitlines()]
    assert sum('Sync' in words for words in sent) == 2 * 2 * PREPARE_THRESHOLD
    assert not any('Parse' in words or 'Query' in words for words in sent)


@pytest.mark.skipif(pgbouncer.PROGRAM is None, reason='there is no pgbouncer: CI has it')
def test_nothing_is_prepared_behind_pgbouncer(url: str, postgres: PostgresServer) -> None:
    """In transaction mode, where two clients get the same connection of the server in turn."""
    began_at = datetime.now(timezone.utc).replace(tzinfo=None)
    with pgbouncer.running_pgbouncer(postgres) as port:
        pooled = make_url(url).set(port=port).render_as_string(hide_password=False)
        with pool_process(pooled) as one, pool_process(pooled) as other:
            ids = store_many([one, other])
            assert number(one, PREPARED) == 0
            stored = [one.get_task_meta(task_id)['date_done'] for task_id in ids]
    # In UTC, though the database's user has another zone.
    ended_at = datetime.now(timezone.utc).replace(tzinfo=None)
    assert all(began_at <= done <= ended_at for done in stored)


def test_a_connection_that_has_ended_costs_no_try(url: str, postgres: PostgresServer) -> None:
    with pool_process(url) as backend:
        task_id = uuid.uuid4().hex
        backend.always_retry = False
        backend.store_result(task_id, None, states.STARTED)
        pid = number(backend, 'SELECT pg_backend_pid()')
        with postgres.connect() as connection:
            connection.execute('SELECT pg_terminate_backend(%s, 5000)', [pid])
        backend.store_result(task_id, 3, states.SUCCESS)
        assert backend.get_result(task_id) == 3


def test_tables_that_were_dropped_are_made_anew(tmp_path: Path) -> None:
    backend = app_with(f'sqlite:///{tmp_path / "results"}').backend
    for result in (3, 4):
        backend.store_result('id', result, states.SUCCESS)
        assert backend.get_task_meta('id', cache=False)['result'] == result
        (tmp_path / 'results').unlink()


def test_expired_results_are_deleted(app: Celery, postgres: PostgresServer) -> None:
    backend = app.backend
    backend.expires = HOUR
    old, new = (uuid.uuid4().hex for _ in range(2))
    for task_id in (old, new):
        backend.store_result(task_id, 1, states.SUCCESS)
    with postgres.connect() as connection:
        connection.execute(
            "UPDATE celery_taskmeta SET date_done = date_done - interval '2 hours' "
            'WHERE task_id = %s',
            [old],
        )
    app.tasks['celery.backend_cleanup']()
    assert [backend.get_state(task_id) for task_id in (old, new)] == ['PENDING', 'SUCCESS']
