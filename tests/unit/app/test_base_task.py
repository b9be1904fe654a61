from __future__ import annotations

import os
import signal

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
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
    TimeLimitError,
)
from app.utils import soft_time_limit

app = Celery('policies', broker='memory://', set_as_current=False)


def failing(base: type[BaseTask], error: Exception, **options):
    @app.task(base=base, shared=False, name=f'{base.__name__}-{error!r}-{options}', **options)
    def fail() -> None:
        raise error

    return fail


def after(task, retries: int) -> Exception:
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
def test_backoff_waits_at_most_a_bound_that_doubles_up_to_a_cap(retries):
    error = after(backing_off, retries)
    assert isinstance(error, Retry)
    assert 0 <= error.when <= min(2**retries, ExponentialBackoffTask.retry_backoff_max)


def test_backoff_has_jitter():
    assert len({after(backing_off, 8).when for _ in range(50)}) > 10


def test_a_fixed_delay_is_fixed():
    task = failing(FixedDelayTask, ConnectionError())
    assert {after(task, retries).when for retries in range(5)} == {10}


@pytest.mark.parametrize('base', [ExponentialBackoffTask, FixedDelayTask])
def test_retries_end(base):
    task = failing(base, ConnectionError('still'))
    assert isinstance(after(task, 4), Retry)
    assert isinstance(after(task, 5), ConnectionError)


@pytest.mark.parametrize('error', NEVER_RETRIED)
@pytest.mark.parametrize('base', [ExponentialBackoffTask, FixedDelayTask])
def test_mistakes_are_never_retried(base, error):
    assert type(after(failing(base, error('no')), 0)) is error


def test_a_task_may_say_that_no_retry_helps():
    class OutOfStockError(PermanentError):
        pass

    assert isinstance(after(failing(ExponentialBackoffTask, OutOfStockError()), 0), OutOfStockError)


def test_no_retry_means_none():
    assert isinstance(after(failing(NoRetryTask, ConnectionError()), 0), ConnectionError)


def test_time_limits_that_contradict_each_other_are_refused():
    with pytest.raises(TimeLimitError, match=r'soft_time_limit=9 s must be below time_limit=9 s'):
        _ = failing(NoRetryTask, ValueError(), time_limit=9, soft_time_limit=9).name


def test_a_short_time_limit_is_without_the_default_soft_one(monkeypatch):
    monkeypatch.setitem(app.conf, 'task_soft_time_limit', 540)
    task = failing(NoRetryTask, ValueError(), time_limit=9)
    assert (task.time_limit, task.soft_time_limit) == (9, None)


def test_the_soft_limit_interrupts_the_task_and_nothing_around_it():
    before = signal.getsignal(signal.SIGUSR1)
    try:
        soft_time_limit.hold_off()
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(SoftTimeLimitExceeded), soft_time_limit.applies():
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_direct_call_leaves_signals_alone():
    @app.task(base=NoRetryTask, shared=False, name='direct')
    def direct() -> object:
        return signal.getsignal(signal.SIGUSR1)

    assert direct() is signal.getsignal(signal.SIGUSR1)


def test_a_message_whose_retry_cannot_be_sent_comes_back():
    unreachable = Celery('unreachable', broker='memory://', set_as_current=False)
    unreachable.conf.task_create_missing_queues = False

    @unreachable.task(base=FixedDelayTask, shared=False)
    def fail() -> None: ...

    fail.push_request(id='id', called_directly=False, args=(), kwargs={}, delivery_info={})
    with pytest.raises(Reject) as rejected:
        fail.retry(queue='nowhere')
    assert rejected.value.requeue is True
