"""What is counted for each way in which Celery ends an attempt; its own tracer runs the task."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from billiard import current_process
from billiard.pool import SIG_SOFT_TIMEOUT
from celery import Celery, Task, states
from celery.app.trace import build_tracer
from celery.backends.cache import CacheBackend
from celery.exceptions import Ignore, Reject

from app.utils.celery_signals import labels, pool_process
from app.utils.metrics.metrics import REGISTRY
from tests.support.counted_since import Counted

QUEUE = 'unit-tests'


class Backend(CacheBackend):
    """Keeps results in memory, until it is told that it is away."""

    away: BaseException | None = None

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kw: Any) -> Any:
        if self.away and state != states.STARTED:
            raise self.away
        return super().store_result(task_id, result, state, *args, **kw)


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery('unit-tests', broker='memory://', backend='cache+memory://')
    app.conf.update(task_default_queue=QUEUE, task_routes={}, task_track_started=True)
    app._local.backend = Backend(app=app, url='memory://')
    app.set_current()
    before = signal.getsignal(SIG_SOFT_TIMEOUT)
    # As in the pool: the consuming process has signals of the same kind.
    process, name = current_process(), current_process().name
    process.name = 'ForkPoolWorker-1'
    for cached in (labels.labels_of, pool_process._metrics):
        cached.cache_clear()
    yield app
    for cached in (labels.labels_of, pool_process._metrics):
        cached.cache_clear()
    process.name = name
    signal.signal(SIG_SOFT_TIMEOUT, before)
    app.close()


@pytest.fixture
def counted() -> Counted:
    return Counted(REGISTRY)


def run(app: Celery, body: Callable[[Task], object], **request: Any) -> None:
    task = app.task(body, name='unit', bind=True, shared=False, max_retries=1)
    info = {'routing_key': QUEUE, **request.pop('delivery_info', {})}
    trace = build_tracer('unit', task, app=app)
    trace('id', (), {}, {'id': 'id', 'delivery_info': info, 'retries': 0, **request})


def raises(error: BaseException) -> Callable[[Task], object]:
    def body(_: Task) -> None:
        raise error

    return body


def succeeds(_: Task) -> int:
    return 3


def retries(task: Task) -> None:
    raise task.retry(countdown=0)


@pytest.mark.parametrize(
    ('body', 'state'),
    [
        (succeeds, states.SUCCESS),
        (raises(ValueError()), states.FAILURE),
        (raises(Ignore()), states.IGNORED),
        (raises(Reject(requeue=False)), states.REJECTED),
    ],
    ids=['success', 'failure', 'ignored', 'rejected'],
)
def test_the_end_of_a_task_is_counted(
    app: Celery, counted: Counted, body: Callable[[Task], object], state: str
) -> None:
    run(app, body)
    assert counted('worker_tasks_count_total', state=state) == 1
    assert counted('tasks_finished_total', state=state, name='unit', queue=QUEUE) == 1
    assert counted('tasks_finished_total') == 1
    assert counted('tasks_failed_total') == (state == states.FAILURE)


def test_a_failure_has_the_name_of_its_exception(app: Celery, counted: Counted) -> None:
    run(app, raises(ZeroDivisionError('with words')))
    assert counted('tasks_failed_total', exception='ZeroDivisionError', name='unit') == 1


def test_a_retry_is_no_end(app: Celery, counted: Counted) -> None:
    run(app, retries)
    assert counted('worker_tasks_count_total', state=states.RETRY) == 1
    assert counted('tasks_retried_total', name='unit', queue=QUEUE) == 1
    assert counted('tasks_finished_total') == 0


def test_a_message_that_goes_back_is_no_end(app: Celery, counted: Counted) -> None:
    run(app, raises(Reject(requeue=True)))
    assert counted('worker_tasks_count_total', state=states.REJECTED) == 1
    assert counted('tasks_finished_total') == 0


@pytest.mark.parametrize('body', [succeeds, raises(ValueError())], ids=['success', 'failure'])
def test_a_task_that_goes_back_for_want_of_a_database_has_not_finished(
    app: Celery, counted: Counted, body: Callable[[Task], object]
) -> None:
    app.backend.away = Reject('the result database is away', requeue=True)
    with pytest.raises(Reject):
        run(app, body)
    assert counted('worker_tasks_count_total', state=states.REJECTED) == 1
    assert counted('worker_tasks_count_total', state=states.SUCCESS) == 0
    assert counted('tasks_finished_total') == counted('tasks_failed_total') == 0


def test_a_process_that_ends_leaves_it_to_the_consumer_to_count(
    app: Celery, counted: Counted
) -> None:
    with pytest.raises(SystemExit):
        run(app, raises(SystemExit(1)))
    assert counted('worker_tasks_count_total', state=states.FAILURE) == 1
    assert counted('tasks_finished_total') == counted('tasks_failed_total') == 0


def test_the_wait_is_counted_from_when_the_task_was_due(app: Celery, counted: Counted) -> None:
    for due_in in (-100, 100):  # a clock that is ahead makes no wait shorter than none
        info = {'due_at': time.time() + due_in}
        run(app, succeeds, properties={'delivery_info': info})
    assert counted('tasks_wait_seconds_count') == 2
    assert 100 <= counted('tasks_wait_seconds_sum') < 200


def test_other_transports_do_not_say_when_a_task_was_sent(app: Celery, counted: Counted) -> None:
    run(app, succeeds)
    assert counted('tasks_runtime_seconds_count') == 1
    assert counted('tasks_wait_seconds_count') == 0


def test_a_queue_that_the_mapping_does_not_hold_is_unknown(app: Celery, counted: Counted) -> None:
    for number in range(3):
        run(app, succeeds, delivery_info={'routing_key': f'strange-{number}'})
    assert counted('tasks_finished_total', queue=labels.UNKNOWN) == 3
    assert counted('tasks_finished_total') == 3
