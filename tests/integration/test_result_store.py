"""Results with texts that PostgreSQL refuses, on a real one."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, states
from celery.app.trace import build_tracer
from celery.result import AsyncResult

from app.tasks.base_task import FixedDelayTask
from tests.support.postgres import PostgresServer

NUL = 'a\x00b'
HALF_PAIR = 'a\ud800b'
NAMES = ['NUL', 'half a pair']


@pytest.fixture(autouse=True)
def log_nothing() -> Iterator[None]:
    # pytest-xdist cannot hand on half a pair, neither in what was logged nor in a test's name.
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def app(postgres: PostgresServer) -> Celery:
    """An app with the database backend of workers and producers."""
    url = postgres.backend_url.removeprefix('db+')
    app = Celery(
        broker='memory://',
        backend=f'be_queue.database:DatabaseBackend+{url}',
        set_as_current=False,
    )
    app.conf.update(database_create_tables_at_setup=False, result_extended=True)
    return app


def attempt(task: Task, task_id: str, retries: int, **delivery: Any) -> AsyncResult:
    """Run the task as a pool process does; return its result as it is stored then."""
    request = {'id': task_id, 'retries': retries, 'delivery_info': {'routing_key': 'q'} | delivery}
    build_tracer(task.name, task, app=task.app)(task_id, (), {}, request=request)
    return AsyncResult(task_id, app=task.app)


@pytest.mark.parametrize(
    ('text', 'stored'), [(NUL, 'a\N{REPLACEMENT CHARACTER}b'), (HALF_PAIR, 'a?b')], ids=NAMES
)
def test_a_failure_with_odd_text_is_stored_as_it_is(app: Celery, text: str, stored: str) -> None:
    @app.task(base=FixedDelayTask, name='fails', shared=False)
    def fails() -> None:
        raise ValueError(text)

    result = attempt(fails, uuid.uuid4().hex, 0)
    assert result.state == states.FAILURE
    assert type(result.result) is ValueError
    assert result.result.args == (text,)
    assert result.traceback.splitlines()[-1] == f'ValueError: {stored}'


@pytest.mark.parametrize('text', [NUL, HALF_PAIR], ids=NAMES)
def test_a_retry_with_odd_text_is_no_failure(app: Celery, text: str) -> None:
    @app.task(base=FixedDelayTask, name='retried', bind=True, shared=False)
    def retried(self: Task) -> str:
        if not self.request.retries:
            raise ConnectionError(text)
        return text

    task_id = uuid.uuid4().hex
    result = attempt(retried, task_id, 0)
    assert result.state == states.RETRY
    assert type(result.result) is ConnectionError
    result = attempt(retried, task_id, 1)
    assert result.get() == text
    assert result.state == states.SUCCESS


@pytest.mark.parametrize('key', [NUL, HALF_PAIR, 'x' * 156], ids=[*NAMES, 'long'])
def test_a_senders_routing_key_keeps_no_result_from_being_stored(app: Celery, key: str) -> None:
    @app.task(base=FixedDelayTask, name='works', shared=False)
    def works() -> int:
        return 3

    assert attempt(works, uuid.uuid4().hex, 0, routing_key=key).get() == 3
