from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Reject, Retry

from app.tasks.base_task import (
    BaseTask,
    ExponentialBackoffTask,
    FixedDelayTask,
    NoRetryTask,
    PermanentError,
)

app = Celery('policies', broker='memory://', set_as_current=False)


class OutOfStockError(PermanentError):
    """A service's own."""


def failing(base: type[BaseTask], error: Exception, **options: Any) -> Task:
    @app.task(base=base, shared=False, name=f'{base.__name__}-{error!r}-{options}', **options)
    def fail() -> None:
        raise error

    return fail


def after(task: Task, retries: int) -> Exception:
    """Run the task as its attempt ``retries + 1``; return what it raises."""
    task.push_request(
        id='id', retries=retries, called_directly=False, args=(), kwargs={}, delivery_info={}
    )
    try:
        with pytest.raises(Exception) as raised:  # noqa: PT011  (of any class)
            task.run()
    finally:
        task.pop_request()
    return raised.value


def test_backoff_is_random_up_to_a_bound_that_doubles_and_a_fixed_delay_is_not() -> None:
    task = failing(ExponentialBackoffTask, ConnectionError(), max_retries=None)
    for retries in (0, 3, 8, 60):
        waits = {after(task, retries).when for _ in range(50)}
        assert 0 <= min(waits) <= max(waits) <= min(2**retries, 300)
    assert len(waits) > 10
    fixed = failing(FixedDelayTask, ConnectionError())
    assert {after(fixed, retries).when for retries in range(5)} == {10}


@pytest.mark.parametrize(
    ('base', 'error', 'retries'),
    [
        (ExponentialBackoffTask, ConnectionError, 5),
        (FixedDelayTask, ConnectionError, 5),
        (NoRetryTask, ConnectionError, 0),
        # Mistakes are never retried.
        (ExponentialBackoffTask, KeyError, 0),
        (FixedDelayTask, OutOfStockError, 0),
    ],
)
def test_a_policy_retries_what_may_succeed_so_many_times(
    base: type[BaseTask], error: type[Exception], retries: int
) -> None:
    task = failing(base, error('still'))
    ends = [type(after(task, attempt)) for attempt in range(retries + 1)]
    assert ends == [Retry] * retries + [error]


def test_a_message_whose_retry_cannot_be_sent_comes_back() -> None:
    unreachable = Celery('unreachable', broker='memory://', set_as_current=False)
    unreachable.conf.task_create_missing_queues = False

    @unreachable.task(base=FixedDelayTask, shared=False)
    def fail() -> None: ...

    fail.push_request(id='id', called_directly=False, args=(), kwargs={}, delivery_info={})
    with pytest.raises(Reject) as rejected:
        fail.retry(queue='nowhere')
    assert rejected.value.requeue is True
