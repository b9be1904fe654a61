from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Reject, Retry
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.base_task import (
    NEVER_RETRIED,
    BaseTask,
    ExponentialBackoffTask,
    FixedDelayTask,
    NoRetryTask,
    PermanentError,
)

app = Celery('policies', broker='memory://', set_as_current=False)


class OutOfStockError(PermanentError):
    pass


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
        task.run()
    except Exception as error:  # noqa: BLE001  (whatever it is, is asserted on)
        return error
    finally:
        task.pop_request()
    raise AssertionError('the task does not fail')


backing_off = failing(ExponentialBackoffTask, ConnectionError(), max_retries=None)


@given(st.integers(min_value=0, max_value=60))
def test_backoff_waits_at_most_a_bound_that_doubles_up_to_a_cap(retries: int) -> None:
    error = after(backing_off, retries)
    assert isinstance(error, Retry)
    assert 0 <= error.when <= min(2**retries, ExponentialBackoffTask.retry_backoff_max)


def test_backoff_has_jitter_and_a_fixed_delay_has_none() -> None:
    assert len({after(backing_off, 8).when for _ in range(50)}) > 10
    fixed = failing(FixedDelayTask, ConnectionError())
    assert {after(fixed, retries).when for retries in range(5)} == {10}


@pytest.mark.parametrize(
    ('base', 'retries'), [(ExponentialBackoffTask, 5), (FixedDelayTask, 5), (NoRetryTask, 0)]
)
def test_a_policy_retries_what_may_succeed_so_many_times(
    base: type[BaseTask], retries: int
) -> None:
    task = failing(base, ConnectionError('still'))
    ends = [type(after(task, attempt)) for attempt in range(retries + 1)]
    assert ends == [Retry] * retries + [ConnectionError]


@pytest.mark.parametrize('error', [*NEVER_RETRIED, OutOfStockError])
def test_mistakes_are_never_retried(error: type[Exception]) -> None:
    assert type(after(failing(ExponentialBackoffTask, error('no')), 0)) is error


def test_a_message_whose_retry_cannot_be_sent_comes_back() -> None:
    unreachable = Celery('unreachable', broker='memory://', set_as_current=False)
    unreachable.conf.task_create_missing_queues = False

    @unreachable.task(base=FixedDelayTask, shared=False)
    def fail() -> None: ...

    fail.push_request(id='id', called_directly=False, args=(), kwargs={}, delivery_info={})
    with pytest.raises(Reject) as rejected:
        fail.retry(queue='nowhere')
    assert rejected.value.requeue is True
