"""A task that is killed at its hard time limit, of which Celery is told twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery, Task, chain, chord
from celery.exceptions import TimeLimitExceeded
from kombu import Message

from app.utils.lost_child import Request

#: Queues of kombu's own transport in memory.
WORK, ERRBACKS = 'lost-child-work', 'lost-child-errbacks'


@pytest.fixture
def app() -> Iterator[Celery]:
    # This backend counts the tasks of a chord, which a database's does not.
    app = Celery(broker='memory://', backend='cache+memory://', set_as_current=False)
    app.conf.task_default_queue = WORK
    yield app
    taken(app, WORK)
    taken(app, ERRBACKS)
    app.close()


@pytest.fixture
def work(app: Celery) -> Task:
    @app.task(name='work', shared=False)
    def work(*_: object) -> None:
        pass

    return app.tasks['work']


def taken(app: Celery, queue: str) -> list[Message]:
    """Take all messages from a queue."""
    with app.connection_for_write() as connection, connection.SimpleQueue(queue) as simple:
        return [simple.get_nowait() for _ in range(simple.qsize())]


def is_killed(message: Message, task: Task) -> None:
    """Do what the pool does, in its order."""
    request = Request(message, app=task.app, task=task)
    try:
        raise TimeLimitExceeded(1)
    except TimeLimitExceeded:
        with suppress(ConnectionError):  # the pool logs it, and goes on
            request.on_failure(ExceptionInfo())
    request.on_timeout(False, 1)


def test_error_callbacks_are_called_once(app: Celery, work: Task) -> None:
    # One that this worker does not know is sent on.
    errback = app.signature('elsewhere', queue=ERRBACKS)
    result = work.apply_async(link_error=errback)
    (message,) = taken(app, WORK)
    is_killed(message, work)
    assert len(taken(app, ERRBACKS)) == 1
    assert result.state == 'FAILURE'


def test_a_chord_counts_its_task_once(app: Celery, work: Task) -> None:
    group_id = str(uuid.uuid4())
    chord([work.s() for _ in range(3)], work.s(), task_id=group_id).apply_async()
    (message, *_) = messages = taken(app, WORK)
    assert len(messages) == 3
    is_killed(message, work)
    key = app.backend.get_key_for_chord(message.headers['group'])
    assert int(app.backend.get(key)) == 1


def test_what_follows_in_a_chain_fails_and_its_error_callback_is_called_once(
    app: Celery, work: Task
) -> None:
    errback = app.signature('elsewhere', queue=ERRBACKS)
    result = chain(work.s(), work.s()).on_error(errback).apply_async()
    (message,) = taken(app, WORK)
    is_killed(message, work)
    assert len(taken(app, ERRBACKS)) == 1
    assert result.state == result.parent.state == 'FAILURE'


def test_a_failure_that_could_not_be_told_at_first_is_told_the_second_time(
    app: Celery, work: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.apply_async(link_error=app.signature('elsewhere', queue=ERRBACKS))
    (message,) = taken(app, WORK)
    store, stored = app.backend.store_result, []

    def away_at_first(*args: object, **options: object) -> object:
        stored.append(args)
        if len(stored) == 1:
            raise ConnectionError('nobody there')
        return store(*args, **options)

    monkeypatch.setattr(app.backend, 'store_result', away_at_first)
    is_killed(message, work)
    assert len(stored) == 2
    assert len(taken(app, ERRBACKS)) == 1
