from __future__ import annotations

from collections.abc import Callable

import pytest

from be_queue.transport import capacity
from be_queue.transport.capacity import MAX_PER_CHILD, Capacity

Work = Callable[[str, float], None]


class Clock:
    """The monotonic clock, moved by hand: run times are exact."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(capacity.time, 'monotonic', clock.monotonic)
    return clock


def four_children() -> Capacity:
    held = Capacity()
    held.children = 4
    return held


def learn(held: Capacity, clock: Clock, queue: str, run_time: float) -> None:
    held.received(f'first of {queue}', queue)
    clock.now += run_time
    held.settled(f'first of {queue}')


def fill(held: Capacity, queue: str, count: int) -> None:
    for number in range(count):
        held.received(f'{queue} {number}', queue)


def test_a_queue_that_nothing_is_known_of_gets_a_message_for_each_child():
    held = four_children()
    assert held.room('new') == 4
    fill(held, 'new', 4)
    assert held.room('new') == 0


def test_long_tasks_get_a_message_for_each_child(clock):
    held = four_children()
    learn(held, clock, 'long', 5.0)
    assert held.room('long') == 4
    fill(held, 'long', 3)
    assert held.room('long') == 1
    held.received('fourth', 'long')
    assert held.room('long') == 0


def test_short_tasks_get_a_second_of_work(clock):
    held = four_children()
    learn(held, clock, 'short', 0.1)
    assert held.room('short') == pytest.approx(40, abs=1)
    fill(held, 'short', 30)
    assert held.room('short') == pytest.approx(10, abs=1)


def test_there_is_a_most_for_the_shortest(clock):
    held = four_children()
    learn(held, clock, 'short', 0.0001)
    assert held.room('short') == 4 * MAX_PER_CHILD
    fill(held, 'short', 4 * MAX_PER_CHILD)
    assert held.room('short') == 0


def test_one_long_task_leaves_the_other_children_their_work(clock):
    held = four_children()
    learn(held, clock, 'long', 60.0)
    learn(held, clock, 'short', 0.1)
    held.received('runs long', 'long')
    assert held.room('short') == pytest.approx(30, abs=1)


def test_a_short_queue_at_its_limit_lets_a_long_one_in_as_it_shrinks(clock):
    held = four_children()
    learn(held, clock, 'long', 60.0)
    learn(held, clock, 'short', 0.1)
    fill(held, 'short', 41)
    assert held.room('long') == 0
    clock.now += 0.1
    for number in range(4):
        held.settled(f'short {number}')
    assert held.room('long') == 1


def test_a_task_that_takes_longer_than_its_like_stops_the_hoarding(clock):
    held = four_children()
    learn(held, clock, 'turned', 0.01)
    fill(held, 'turned', 10)
    assert held.room('turned') > 100
    clock.now += 3.0
    assert held.room('turned') == 0


def test_a_message_that_waited_counts_from_when_a_child_was_free(clock):
    held = Capacity()
    held.children = 1
    held.received('a', 'queue')
    held.received('b', 'queue')
    clock.now += 2.0
    held.settled('a')
    clock.now += 2.0
    held.settled('b')
    assert held.run_time('queue') == pytest.approx(2.0)


def test_what_receives_are_expected_to_bring_is_counted(clock):
    held = four_children()
    learn(held, clock, 'short', 0.1)
    room = held.room('short')
    held.expect('short', 10)
    assert held.room('short') == room - 10
    held.expect('short', -10)
    assert held.room('short') == room


def test_nothing_held_is_left_behind(clock):
    held = four_children()
    fill(held, 'queue', 9)
    for number in (8, 0, 4, 1, 2, 3, 5, 6, 7):
        held.settled(f'queue {number}')
    held.settled('unheard of')
    assert held.held == 0
    assert held.room('queue') >= 4


def test_a_worker_may_be_told_to_hold_one_message_for_each_child(clock):
    held = Capacity(seconds=0)
    held.children = 4
    learn(held, clock, 'short', 0.001)
    assert held.room('short') == 4
    fill(held, 'short', 4)
    assert held.room('short') == 0


def test_the_time_until_a_message_is_due_is_no_run_time(clock):
    held = four_children()
    held.received('due in a minute', 'later', due_in=60.0)
    clock.now += 60.5
    held.settled('due in a minute')
    assert held.run_time('later') == pytest.approx(0.5)


def test_after_a_message_was_handed_back_there_is_no_room_until_a_child_is_done(clock):
    held = four_children()
    learn(held, clock, 'short', 0.01)
    fill(held, 'short', 10)
    clock.now += 3.0
    for number in range(4, 10):
        held.returned(f'short {number}')
    assert held.held == 4
    assert held.room('short') == held.room('other') == 0
    held.settled('short 0')
    assert held.room('short') == 1
