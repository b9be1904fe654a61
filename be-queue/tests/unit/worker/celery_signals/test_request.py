"""A task that is killed at its hard time limit, which the pool reports twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery, Task, chain, chord
from celery.exceptions import TimeLimitExceeded
from kombu import Message

from be_queue.worker.celery_signals.request import Request

#: Queues of kombu's own transport in memory.
WORK, ERRBACKS = 'lost-child-work', 'lost-child-errbacks'


@pytest.fixture
def work() -> Iterator[Task]:
    # This backend counts the tasks of a chord, which a database's does not.
    app = Celery(broker='memory://', backend='cache+memory://', set_as_current=False)
    app.conf.task_default_queue = WORK

    @app.task(shared=False, name='work')
    def work(*_: object) -> None: ...

    yield app.tasks['work']
    taken(app, WORK)
    taken(app, ERRBACKS)
    app.close()


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
        request.on_failure(ExceptionInfo())
    request.on_timeout(False, 1)


def test_error_callbacks_are_called_once(work: Task) -> None:
    # One that this worker does not know is sent on.
    errback = work.app.signature('elsewhere', queue=ERRBACKS)
    result = chain(work.s(), work.s()).on_error(errback).apply_async()
    (message,) = taken(work.app, WORK)
    is_killed(message, work)
    assert len(taken(work.app, ERRBACKS)) == 1
    assert result.parent.state == 'FAILURE'


def test_a_chord_counts_its_task_once(work: Task) -> None:
    chord([work.s() for _ in range(3)], work.s()).apply_async()
    (message, *_) = messages = taken(work.app, WORK)
    assert len(messages) == 3
    is_killed(message, work)
    backend = work.app.backend
    assert int(backend.get(backend.get_key_for_chord(message.headers['group']))) == 1
