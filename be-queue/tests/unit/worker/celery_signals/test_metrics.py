"""Counts for each way in which Celery ends an attempt; its own tracer runs the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from billiard import current_process
from celery import Celery, Task, states
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, Reject

from be_queue.worker.celery_signals.metrics import UNKNOWN, labelled, queue_of
from tests.support.metrics import Counted

QUEUE = 'unit-tests'
Body = Callable[[Task], object]
BACK = Reject('the result database is unavailable', requeue=True)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    app = Celery('unit-tests', broker='memory://', backend='cache+memory://')
    app.conf.update(task_default_queue=QUEUE, task_routes={}, task_track_started=True)
    app.set_current()
    # As in the pool: the consuming process has signals of the same kind.
    monkeypatch.setattr(current_process(), 'name', 'ForkPoolWorker-1')
    labelled.cache_clear()
    yield app
    labelled.cache_clear()
    app.close()


def run(app: Celery, body: Body, **delivery_info: str) -> None:
    task = app.task(body, name='unit', bind=True, shared=False, max_retries=1)
    info = {'routing_key': QUEUE, **delivery_info}
    trace = build_tracer('unit', task, app=app)
    with suppress(Reject, SystemExit):
        trace('id', (), {}, {'id': 'id', 'delivery_info': info, 'retries': 0})


def raises(error: BaseException) -> Body:
    def body(_: Task) -> None:
        raise error

    return body


def succeeds(_: Task) -> int:
    return 3


def unstored(task: Task) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BACK

    task.backend.mark_as_done = refuse


def retries(task: Task) -> None:
    raise task.retry(countdown=0)


@pytest.mark.parametrize(
    ('body', 'state', 'finished'),
    [
        (succeeds, states.SUCCESS, 1),
        (raises(ZeroDivisionError('with words')), states.FAILURE, 1),
        (raises(Ignore()), states.IGNORED, 1),
        (raises(Reject(requeue=False)), states.REJECTED, 1),
        (raises(BACK), states.REJECTED, 0),
        (unstored, states.REJECTED, 0),
        (retries, states.RETRY, 0),
        # The process ends, and the consumer counts.
        (raises(SystemExit(1)), states.FAILURE, 0),
    ],
)
def test_the_end_of_an_attempt_is_counted(
    app: Celery, body: Body, state: str, finished: int
) -> None:
    counted = Counted()
    run(app, body)
    assert counted('worker_tasks_count_total', state=states.STARTED) == 1
    assert counted('worker_tasks_count_total', state=state, name='unit', queue=QUEUE) == 1
    assert counted('worker_tasks_count_total') == 2
    assert counted('tasks_finished_total', state=state, name='unit', queue=QUEUE) == finished
    assert counted('tasks_finished_total') == finished
    assert counted('tasks_retried_total') == (state == states.RETRY)
    failed = finished and state == states.FAILURE
    assert counted('tasks_failed_total', exception='ZeroDivisionError') == failed
    assert counted('tasks_failed_total') == failed


def test_the_queue_is_the_one_that_the_message_came_from(app: Celery) -> None:
    counted = Counted()
    assert queue_of({'routing_key': 'shop.add', 'received_from': QUEUE}) == QUEUE
    # Celery keeps the routing key alone, which is whatever the sender likes.
    for number in range(3):
        run(app, succeeds, routing_key=f'strange-{number}')
    assert counted('tasks_finished_total', queue=UNKNOWN) == 3
    assert counted('tasks_finished_total') == 3
