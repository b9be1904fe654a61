"""Counts for each way in which Celery ends an attempt; its own tracer runs the task."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from billiard import current_process
from celery import Celery, Task, states
from celery.app.trace import build_tracer
from celery.backends.cache import CacheBackend
from celery.exceptions import Ignore, Reject
from prometheus_client import REGISTRY

from be_queue.worker import soft_time_limit
from be_queue.worker.celery_signals.metrics import UNKNOWN, labelled, queue_of
from tests.support.counted_since import Counted

QUEUE = 'unit-tests'
Body = Callable[[Task], object]


BACK = Reject('the result database is unavailable', requeue=True)


class UnstoredError(Exception):
    """A result that the backend does not take."""


class Backend(CacheBackend):
    """Keeps results in memory."""

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kw: Any) -> Any:
        if isinstance(result, UnstoredError):
            raise BACK
        return super().store_result(task_id, result, state, *args, **kw)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    app = Celery('unit-tests', broker='memory://')
    app.conf.update(task_default_queue=QUEUE, task_routes={}, task_track_started=True)
    app._local.backend = Backend(app=app, url='memory://')
    app.set_current()
    before = signal.getsignal(soft_time_limit.SIGNAL)
    # As in the pool: the consuming process has signals of the same kind.
    monkeypatch.setattr(current_process(), 'name', 'ForkPoolWorker-1')
    labelled.cache_clear()
    yield app
    labelled.cache_clear()
    signal.signal(soft_time_limit.SIGNAL, before)
    app.close()


def run(app: Celery, body: Body, **request: Any) -> None:
    task = app.task(body, name='unit', bind=True, shared=False, max_retries=1)
    info = {'routing_key': QUEUE, **request.pop('delivery_info', {})}
    trace = build_tracer('unit', task, app=app)
    trace('id', (), {}, {'id': 'id', 'delivery_info': info, 'retries': 0, **request})


def raises(error: BaseException) -> Body:
    def body(_: Task) -> None:
        raise error

    return body


def succeeds(_: Task) -> int:
    return 3


def unstored(_: Task) -> Exception:
    return UnstoredError()


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
    counted = Counted(REGISTRY)
    try:
        run(app, body)
    except (Reject, SystemExit):
        assert not finished
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
    counted = Counted(REGISTRY)
    assert queue_of({'routing_key': 'shop.add', 'received_from': QUEUE}) == QUEUE
    # Celery keeps the routing key alone, which is whatever the sender likes.
    for number in range(3):
        run(app, succeeds, delivery_info={'routing_key': f'strange-{number}'})
    assert counted('tasks_finished_total', queue=UNKNOWN) == 3
    assert counted('tasks_finished_total') == 3
