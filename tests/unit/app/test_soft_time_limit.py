from __future__ import annotations

import threading

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from app.utils.soft_time_limit import put_off
from tests.support.soft_limit import applying, strike


def test_a_limit_that_is_put_off_strikes_once_after_the_block() -> None:
    done = []

    def task() -> None:
        with put_off:
            strike()
            done.append('within')
        done.append('after')

    with applying():
        with pytest.raises(SoftTimeLimitExceeded):
            task()
        with put_off:
            done.append('later')
    assert done == ['within', 'later']


def test_blocks_may_be_nested() -> None:
    done = []

    def task() -> None:
        with put_off:
            with put_off:
                strike()
            done.append('outer')

    with applying(), pytest.raises(SoftTimeLimitExceeded):
        task()
    assert done == ['outer']


@pytest.mark.parametrize(
    ('raised', 'comes'), [(ValueError, SoftTimeLimitExceeded), (SystemExit, SystemExit)]
)
def test_an_error_does_not_hide_the_limit_and_the_end_of_the_process_does(raised, comes) -> None:
    def task() -> None:
        with put_off:
            strike()
            raise raised

    with applying():
        with pytest.raises(comes):
            task()
        with put_off:
            pass


def test_a_block_in_another_thread_puts_nothing_off() -> None:
    entered, over = threading.Event(), threading.Event()

    def block() -> None:
        with put_off:
            entered.set()
            over.wait(60)

    thread = threading.Thread(target=block)
    with applying():
        thread.start()
        assert entered.wait(60)
        try:
            with pytest.raises(SoftTimeLimitExceeded):
                strike()
        finally:
            over.set()
            thread.join()


def test_the_limit_of_one_task_does_not_strike_the_next() -> None:
    with applying(), pytest.raises(SoftTimeLimitExceeded), put_off:
        strike()
    with applying(), put_off:
        pass
