"""How many messages a worker holds; the clock is moved by hand, so that run times are exact."""

from __future__ import annotations

import time

import pytest

from be_queue.transport.capacity import MAX_PER_CHILD, Capacity

CHILDREN = 4


class Held(Capacity):
    """A capacity and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.children = CHILDREN
        self.now = 1000.0
        monkeypatch.setattr(time, 'monotonic', lambda: self.now)

    def learn(self, queue: str, run_time: float) -> None:
        self.received(f'first of {queue}', queue)
        self.now += run_time
        self.settled(f'first of {queue}')

    def fill(self, queue: str, count: int) -> None:
        for number in range(count):
            self.received(f'{queue} {number}', queue)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


@pytest.mark.parametrize(
    ('run_time', 'seconds', 'room'),
    [
        (None, 1.0, CHILDREN),  # nothing is known of them
        (5.0, 1.0, CHILDREN),
        (0.1, 1.0, 40),
        (0.1, 2.0, 80),
        (0.0001, 1.0, CHILDREN * MAX_PER_CHILD),
        (0.001, 0, CHILDREN),  # as a user may tell it
    ],
)
def test_there_is_room_for_a_second_of_work_and_a_message_for_each_child(
    held: Held, run_time: float | None, seconds: float, room: int
) -> None:
    held.seconds = seconds
    if run_time is not None:
        held.learn('queue', run_time)
    assert held.room('queue') == pytest.approx(room, abs=1)
    held.fill('queue', room // 2)
    assert held.room('queue') == pytest.approx(room - room // 2, abs=1)
    held.expect('queue', room - room // 2)
    assert held.room('queue') <= 1
    held.expect('queue', room // 2 - room)
    assert held.room('queue') == pytest.approx(room - room // 2, abs=1)


def test_one_long_task_leaves_the_other_children_their_work(held: Held) -> None:
    held.learn('long', 60.0)
    held.learn('short', 0.1)
    held.received('runs long', 'long')
    assert held.room('short') == pytest.approx(30, abs=1)


def test_a_short_queue_at_its_limit_lets_a_long_one_in_as_it_shrinks(held: Held) -> None:
    held.learn('long', 60.0)
    held.learn('short', 0.1)
    held.fill('short', 41)
    assert held.room('long') == 0
    held.now += 0.1
    for number in range(4):
        held.settled(f'short {number}')
    assert held.room('long') == 1


def test_a_task_that_takes_longer_than_its_like_stops_the_hoarding(held: Held) -> None:
    held.learn('turned', 0.01)
    held.fill('turned', 10)
    assert held.room('turned') > 100
    held.now += 3.0
    assert held.room('turned') == 0


def test_neither_the_wait_for_a_child_nor_that_for_its_time_is_run_time(held: Held) -> None:
    held.children = 1
    held.received('a', 'queue')
    held.received('b', 'queue')
    for tag in 'ab':
        held.now += 2.0
        held.settled(tag)
    assert held.run_time('queue') == pytest.approx(2.0)
    held.received('due in a minute', 'later', due_in=60.0)
    held.now += 60.5
    held.settled('due in a minute')
    assert held.run_time('later') == pytest.approx(0.5)


def test_nothing_held_is_left_behind(held: Held) -> None:
    held.fill('queue', 9)
    for number in (8, 0, 4, 1, 2, 3, 5, 6, 7):
        held.settled(f'queue {number}')
    held.settled('unheard of')
    assert held.held == 0
    assert held.room('queue') >= CHILDREN


def test_after_a_message_was_handed_back_there_is_no_room_until_a_child_is_done(held: Held) -> None:
    held.fill('short', 1)
    held.returned('short 0')
    assert held.held == 0
    assert held.room('short') > 0  # nothing runs
    held.learn('short', 0.01)
    held.fill('short', 10)
    held.now += 3.0
    for number in range(4, 10):
        held.returned(f'short {number}')
    assert held.held == 4
    assert held.room('short') == held.room('other') == 0
    held.settled('short 0')
    assert held.room('short') == 1
