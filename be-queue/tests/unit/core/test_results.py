"""The default result backend, and what stands in for it in a producer without its driver."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from celery import Celery, chord
from celery.exceptions import BackendGetMetaError

from be_queue import Config
from be_queue.results import ResultsExtraMissingError, default_backend
from be_queue.testing.memory import MemoryBroker


def test_odd_characters_reach_the_database_as_they_are() -> None:
    odd = 'a:b@c/d%e+f &#[é\N{SNOWMAN}'
    backend = default_backend(user=odd, password=f'{odd}?', host='h', port='5432', name=odd)

    url = sqlalchemy.make_url(backend.removeprefix('db+'))
    assert url.drivername == 'postgresql+psycopg'
    assert (url.username, url.password, url.host, url.port) == (odd, f'{odd}?', 'h', 5432)
    assert url.database == odd


def producer() -> Celery:
    app = Celery(set_as_current=False)
    app.conf.result_backend = 'be_queue.results:NotInstalled'
    return app


def test_the_stand_in_lets_a_producer_send() -> None:
    with MemoryBroker() as broker:
        assert broker.send(producer(), 'add') == ['celery']


def chord_of(app: Celery) -> object:
    return chord([app.signature('add')], app=app)(app.signature('sum'))


@pytest.mark.parametrize(
    'read',
    [
        *(lambda app, n=name: getattr(app.AsyncResult('id'), n)() for name in ('get', 'forget')),
        *(lambda app, n=name: getattr(app.AsyncResult('id'), n) for name in ('state', 'result')),
        chord_of,
    ],
    ids=['get', 'forget', 'state', 'result', 'chord'],
)
def test_the_stand_in_names_the_extra_when_a_result_is_read(read: Callable[[Any], Any]) -> None:
    with pytest.raises(ResultsExtraMissingError, match=r"pip install 'be-queue\[results\]'"):
        read(producer())


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
