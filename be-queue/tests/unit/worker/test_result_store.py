from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, states
from kombu.asynchronous import Hub

from app.config.configuration import Config, WorkerConfig
from be_queue import Queues, SettingError
from be_queue.worker.result_store import install
from be_queue.worker.revoked import Revoked
from be_queue.worker.role import Role
from tests.support.metrics import Counted


def app(backend: str) -> Celery:
    app = Celery('results', broker='memory://', backend=backend, set_as_current=False)
    install(app)
    return app


def test_each_try_is_timed_and_one_that_fails_is_an_error(tmp_path: Path, hub: Hub) -> None:
    counted = Counted()
    results = app(f'db+sqlite:///{tmp_path / "nowhere" / "results"}').backend
    results.play(Role.CONSUMER)
    results.store_result('id', 3, states.SUCCESS)
    assert counted('result_store_errors_total', operation='store') == 1
    (tmp_path / 'nowhere').mkdir()
    results.flush()
    assert results.get_result('id') == 3
    assert counted('result_store_errors_total', operation='store') == 1
    assert counted('result_store_seconds_count', operation='store') == 2


def test_a_task_is_skipped_that_was_revoked_and_not_one_that_has_succeeded(tmp_path: Path) -> None:
    results = app(f'be_queue.database:DatabaseBackend+sqlite:///{tmp_path}/results').backend
    results.play(Role.POOL)
    assert results.revoke('waits')
    with pytest.raises(Revoked):
        results.store_result('waits', {}, states.STARTED)
    assert results.get_state('waits') == states.REVOKED
    results.store_result('done', 3, states.SUCCESS)
    assert not results.revoke('done')
    results.store_result('done', {}, states.STARTED)
    assert results.get_result('done') == 3


@pytest.mark.parametrize(
    ('backend', 'reason'),
    [
        ('postgresql://me:hush@db/x', "No module named 'postgresql'"),
        ('db+postgresql://me:hush@db/x', "No module named 'psycopg2'"),
        ('db+postgresql+psycopg://me:hush@db:x/x', "'x'"),
        ('be_queue.results:NotInstalled', "pip install 'be-queue[results]'"),
        ('app.no.such:Backend', "No module named 'app.no'"),
        ('rpc://', 'a queue for each producer'),
        ('cache+memory://', 'the memory of one process'),
    ],
)
def test_a_backend_that_can_never_work_is_refused_in_one_line(backend: str, reason: str) -> None:
    with pytest.raises(SettingError) as refused:
        app(backend)
    line = str(refused.value)
    assert line.startswith('CELERY_RESULT_BACKEND=')
    assert reason in line
    assert 'set it to db+postgresql+psycopg://' in line
    assert '\n' not in line
    assert 'hush' not in line


@pytest.mark.parametrize('backend', ['disabled://', 'redis://127.0.0.1:1/0'])
def test_a_backend_that_may_work_is_not_asked_at_the_start(backend: str) -> None:
    app(backend)


@pytest.mark.parametrize(
    ('settings', 'needed'),
    [
        ({}, True),
        ({'result_backend': 'disabled://'}, False),
        ({'task_ignore_result': True}, False),
        ({'task_ignore_result': True, 'task_store_errors_even_if_ignored': True}, True),
    ],
)
def test_a_worker_without_results_does_not_ask_for_their_database(
    configured: Callable[..., Config], settings: dict[str, Any], needed: bool
) -> None:
    assert WorkerConfig(configured(), Queues([]), **settings).stores_results == needed
