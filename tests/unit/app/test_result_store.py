from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery, states
from kombu.asynchronous import Hub

from app.utils.metrics.metrics import REGISTRY
from app.utils.result_store import ResultStore
from app.utils.role import Role
from tests.support.counted_since import Counted


def store(url: str) -> ResultStore:
    app = Celery('results', broker='memory://', backend=url, set_as_current=False)
    app.conf.database_create_tables_at_setup = False
    return ResultStore(url=url.removeprefix('db+'), app=app)


@pytest.fixture
def counted() -> Counted:
    return Counted(REGISTRY)


def test_a_result_that_is_stored_is_timed(tmp_path: Path, counted: Counted) -> None:
    results = store(f'db+sqlite:///{tmp_path / "results"}')
    results.store_result('id', 3, states.SUCCESS)
    assert results.get_result('id') == 3
    assert counted('result_store_seconds_count', operation='store') == 1
    assert counted('result_store_seconds_sum', operation='store') > 0
    assert counted('result_store_errors_total') == 0


def test_each_try_that_fails_is_an_error(tmp_path: Path, hub: Hub, counted: Counted) -> None:
    results = store(f'db+sqlite:///{tmp_path / "nowhere" / "results"}')
    results.play(Role.CONSUMER)
    results.store_result('id', 3, states.SUCCESS)
    assert counted('result_store_errors_total', operation='store') == 1
    (tmp_path / 'nowhere').mkdir()
    results.session_manager.prepared = False
    results.flush()
    assert results.get_result('id') == 3
    assert counted('result_store_errors_total', operation='store') == 1
    assert counted('result_store_seconds_count', operation='store') == 2
