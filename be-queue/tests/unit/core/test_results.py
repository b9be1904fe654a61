"""The default result backend, and what stands in for it in a producer without its driver."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from operator import attrgetter, methodcaller
from typing import Any

import pytest
import sqlalchemy
from celery import Celery, chord
from celery.exceptions import BackendGetMetaError
from hypothesis import given, settings
from hypothesis import strategies as st

from be_queue import Config
from be_queue.results import ResultsExtraMissingError, default_backend
from be_queue.testing.memory import MemoryBroker

EXTRA = r"pip install 'be-queue\[results\]'"


TEXT = st.text(st.characters(codec='utf-8', exclude_characters='\0'), min_size=1)
#: In a URL, '?' ends the name.
DATABASE = st.text(st.characters(codec='utf-8', exclude_characters='\0?\n'), min_size=1)


@settings(deadline=None)
@given(TEXT, TEXT, DATABASE)
def test_odd_characters_reach_the_database_as_they_are(user: str, password: str, name: str) -> None:
    backend = default_backend(user=user, password=password, host='h', port='5432', name=name)

    assert backend.startswith('db+postgresql+psycopg://')
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


@pytest.mark.parametrize(
    'read',
    [
        *(methodcaller(name) for name in ('get', 'ready', 'successful', 'forget')),
        *(attrgetter(name) for name in ('state', 'status', 'result', 'traceback')),
    ],
    ids=str,
)
def test_the_stand_in_names_the_extra_when_a_result_is_read(read: Callable[[Any], Any]) -> None:
    with pytest.raises(ResultsExtraMissingError, match=EXTRA):
        read(producer().AsyncResult('id'))


def test_the_stand_in_names_the_extra_when_a_chord_is_sent() -> None:
    app = producer()

    with pytest.raises(ResultsExtraMissingError, match=EXTRA):
        chord([app.signature('add')], app=app)(app.signature('sum'))


@pytest.mark.parametrize('missing', ['sqlalchemy', 'psycopg'])
def test_without_either_driver_the_stand_in_is_the_default(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    assert Config(['add']).result_backend == 'be_queue.results:NotInstalled'


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
