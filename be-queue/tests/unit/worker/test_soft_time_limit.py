from __future__ import annotations

import threading

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from be_queue.worker import soft_time_limit
from be_queue.worker.soft_time_limit import put_off
from tests.support.soft_limit import applying, strike


def test_the_limit_interrupts_a_task_and_nothing_around_it() -> None:
    with applying():
        with soft_time_limit.applies():  # a task that calls another
            pass
        with pytest.raises(SoftTimeLimitExceeded):
            strike()


def test_a_limit_that_is_put_off_strikes_once_after_the_outermost_block() -> None:
    done = []

    def task() -> None:
        with put_off:
            with put_off:
                strike()
            done.append('within')
            raise ValueError('does not hide the limit')

    with applying():
        with pytest.raises(SoftTimeLimitExceeded):
            task()
        with put_off:
            done.append('later')
        thread = threading.Thread(target=put_off.__enter__)
        thread.start()
        thread.join()
        with pytest.raises(SoftTimeLimitExceeded):
            strike()
    assert done == ['within', 'later']
