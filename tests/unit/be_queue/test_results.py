"""The default result backend, and what stands in for it in a producer without its driver."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from celery import Celery, chord
from celery.exceptions import BackendGetMetaError
from hypothesis import given, settings
from hypothesis import strategies as st

from be_queue import BeQueueError, Config
from be_queue.results import NotInstalled, ResultsExtraMissingError, default_backend
from be_queue.testing.memory import MemoryBroker

ROOT = Path(__file__).parents[3]
EXTRA = r"pip install 'be-queue\[results\]'"


def test_results_are_in_postgresql_through_psycopg() -> None:
    url = default_backend(user='u', password='p', host='h', port='5433', name='n')

    assert url == 'db+postgresql+psycopg://u:p@h:5433/n'


TEXT = st.text(st.characters(codec='utf-8', exclude_characters='\0'), min_size=1)
#: In a URL, '?' ends the name.
DATABASE = st.text(st.characters(codec='utf-8', exclude_characters='\0?\n'), min_size=1)


@settings(deadline=None)
@given(TEXT, TEXT, DATABASE)
def test_odd_characters_reach_the_database_as_they_are(user: str, password: str, name: str) -> None:
    backend = default_backend(user=user, password=password, host='h', port='5432', name=name)

    url = sqlalchemy.make_url(backend.removeprefix('db+'))
    assert (url.username, url.password, url.host, url.port) == (user, password, 'h', 5432)
    assert url.database == name


def producer() -> Celery:
    app = Celery(set_as_current=False)
    app.conf.result_backend = 'be_queue.results:NotInstalled'
    return app


def test_the_stand_in_lets_a_producer_send() -> None:
    with MemoryBroker() as broker:
        assert broker.send(producer(), 'add') == ['celery']


@pytest.mark.parametrize('read', ['get', 'ready', 'successful', 'forget'])
def test_the_stand_in_names_the_extra_when_a_result_is_read(read: str) -> None:
    result = producer().AsyncResult('id')

    with pytest.raises(ResultsExtraMissingError, match=EXTRA):
        getattr(result, read)()


@pytest.mark.parametrize('read', ['state', 'status', 'result', 'traceback'])
def test_the_stand_in_names_the_extra_when_a_state_is_read(read: str) -> None:
    result = producer().AsyncResult('id')

    with pytest.raises(ResultsExtraMissingError, match=EXTRA):
        getattr(result, read)


def test_the_stand_in_names_the_extra_when_a_chord_is_sent() -> None:
    app = producer()

    with pytest.raises(ResultsExtraMissingError, match=EXTRA):
        chord([app.signature('add')], app=app)(app.signature('sum'))


def test_the_error_is_one_of_this_package() -> None:
    assert issubclass(ResultsExtraMissingError, BeQueueError)
    assert NotInstalled.__doc__


@pytest.mark.parametrize('missing', ['sqlalchemy', 'psycopg'])
def test_without_either_driver_the_stand_in_is_the_default(tmp_path: Path, missing: str) -> None:
    # A finder that knows nothing of the driver, in a process that has not imported it.
    program = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition('.')[0] == {missing!r} else super().find_spec(name, path)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from be_queue import Config
print(Config(['add']).result_backend)
"""
    run = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == 'be_queue.results:NotInstalled'


def test_reading_a_result_is_one_try_of_a_database_that_does_not_answer() -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        app = Celery(set_as_current=False)
        port = silent.getsockname()[1]
        app.config_from_object(
            Config(['a'], RESULT_DB_HOST='127.0.0.1', RESULT_DB_PORT=port, RESULT_BACKEND_TIMEOUT=1)
        )
        with pytest.raises(BackendGetMetaError):
            app.AsyncResult('id').state  # noqa: B018
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_redis_has_as_long_to_answer_as_a_database() -> None:
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(['a'], result_backend='redis://127.0.0.1:1/0', RESULT_BACKEND_TIMEOUT=3)
    )
    connection = app.backend.connparams
    assert connection['socket_timeout'] == connection['socket_connect_timeout'] == 3
    assert app.backend.retry_policy['timeout'] == 3
