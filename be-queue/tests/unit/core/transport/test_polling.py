"""Which queue is asked next, and for how many messages, in simulated time: nothing is measured."""

from __future__ import annotations

import pytest

from be_queue.transport.poller import State
from tests.support.simulation import SimulatedHub, SimulatedWorker

MANY = 10**6


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> SimulatedHub:
    return SimulatedHub(monkeypatch)


@pytest.mark.parametrize('weight', [1, 3])
@pytest.mark.parametrize('run_times', [(0.01, 0.01), (0.004, 0.05), (0.05, 0.004)])
@pytest.mark.parametrize('seconds', [0.05, 1.0])
def test_queues_with_a_backlog_share_the_time_by_weight_and_keep_the_children_busy(
    simulated: SimulatedHub, weight: float, run_times: tuple[float, float], seconds: float
) -> None:
    times = dict(zip(('heavy', 'light'), run_times, strict=True))
    worker = SimulatedWorker(simulated, 2, times, {'heavy': weight}, seconds)
    worker.backlog.update(heavy=MANY, light=MANY)
    simulated.run_for(10)
    assert worker.share('heavy') == pytest.approx(weight / (weight + 1), abs=0.01)
    assert sum(worker.busy_seconds.values()) > 0.95 * 2 * 10


@pytest.mark.parametrize(('run_time', 'fewest', 'most'), [(0.3, 3, 3), (0.005, 100, 150)])
def test_it_holds_many_short_tasks_and_of_long_ones_no_more_than_its_children_run(
    simulated: SimulatedHub, run_time: float, fewest: int, most: int
) -> None:
    worker = SimulatedWorker(simulated, 3, {'queue': run_time}, seconds=0.25)
    worker.backlog['queue'] = 1000
    simulated.run_until(lambda: worker.done['queue'] == 1000)
    assert fewest <= worker.most_held <= most


def test_an_empty_queue_beside_a_busy_one_is_served_at_once_when_it_gets_work(
    simulated: SimulatedHub,
) -> None:
    worker = SimulatedWorker(simulated, 2, {'busy': 0.01, 'rare': 0.01})
    worker.backlog['busy'] = MANY
    simulated.run_for(10)
    worker.backlog['rare'] = 1
    before = worker.done['busy']
    simulated.run_until(lambda: worker.done['rare'] == 1)
    # What it holds comes first: a second of work.
    assert worker.done['busy'] - before <= 210


class Behind:
    """Ways in which the queue ``behind`` is not served for a while."""

    def __init__(self, worker: SimulatedWorker, way: State) -> None:
        self._worker = worker
        self._way = way

    def begin(self) -> None:
        if self._way is State.THROTTLED:
            self._worker.gate.permits['behind'] = 0
        elif self._way is State.BACKING_OFF:
            self._worker.failing.add('behind')
        else:
            self._worker.backlog['behind'] = 0
        poller = self._worker.receiving.pollers['behind']
        self._worker.hub.run_until(lambda: poller.state is self._way)

    def end(self) -> None:
        self._worker.gate.permits.clear()
        self._worker.failing.clear()
        self._worker.backlog['behind'] = MANY
        self._worker.receiving.wake()


@pytest.mark.parametrize('others', ['have more', 'are empty when it is served again'])
@pytest.mark.parametrize('way', [State.THROTTLED, State.BACKING_OFF, State.RECEIVING])
def test_a_queue_saves_up_no_time_while_it_is_not_served(
    simulated: SimulatedHub, way: State, others: str
) -> None:
    worker = SimulatedWorker(simulated, 2, {'behind': 0.01, 'other': 0.01, 'late': 0.01})
    worker.backlog.update(behind=MANY, other=MANY)
    behind = Behind(worker, way)
    simulated.run_for(10)
    behind.begin()
    simulated.run_for(10)
    # Nor is a queue that gets work put level with it.
    worker.backlog['late'] = MANY
    worker.busy_seconds.clear()
    simulated.run_for(20)
    assert worker.share('late') == pytest.approx(0.5, abs=0.06)
    pollers = worker.receiving.pollers
    if others != 'have more':
        worker.backlog['other'] = worker.backlog['late'] = 0
        simulated.run_until(lambda: not pollers['other'].backlog and not pollers['late'].backlog)
    behind.end()
    simulated.run_until(lambda: pollers['behind'].backlog)
    worker.backlog.update(other=MANY, late=MANY)
    worker.busy_seconds.clear()
    simulated.run_for(20)
    for queue in ('behind', 'other', 'late'):
        assert worker.share(queue) == pytest.approx(1 / 3, abs=0.06)


def test_a_queue_that_is_held_back_keeps_no_room_from_others(simulated: SimulatedHub) -> None:
    worker = SimulatedWorker(simulated, 2, {'behind': 0.01, 'other': 0.01})
    worker.backlog.update(behind=MANY, other=MANY)
    simulated.run_for(10)
    worker.gate.permits['behind'] = 0
    simulated.run_for(2)
    worker.busy_seconds.clear()
    simulated.run_for(10)
    assert worker.busy_seconds['other'] > 0.95 * 2 * 10
    assert worker.busy_seconds['behind'] == 0


@pytest.fixture
def limited(simulated: SimulatedHub) -> SimulatedWorker:
    """A worker with permits for one of its queues."""
    worker = SimulatedWorker(simulated, 4, {'limited': 0.01, 'free': 0.01})
    worker.gate.permits['limited'] = 0
    return worker


def permit(worker: SimulatedWorker, count: int) -> None:
    worker.gate.permits['limited'] = count
    worker.receiving.wake()


def test_no_more_is_received_than_is_admitted(limited: SimulatedWorker) -> None:
    limited.backlog.update(limited=30, free=60)
    for permits, total in ((0, 0), (1, 1), (3, 4), (17, 21)):
        permit(limited, permits)
        limited.hub.run_for(5)
        assert limited.done['limited'] == total
        assert limited.gate.permits['limited'] == 0
    assert limited.receiving.pollers['limited'].state is State.THROTTLED
    assert limited.backlog['limited'] == 9
    assert limited.done['free'] == 60
    limited.receiving.stop()
    assert limited.gate.is_closed


def test_permits_that_a_receive_did_not_use_are_returned(limited: SimulatedWorker) -> None:
    limited.backlog['limited'] = 2
    permit(limited, 8)
    limited.hub.run_until(lambda: limited.done['limited'] == 2)
    limited.hub.run_until(lambda: limited.gate.permits['limited'] == 6)


def test_neither_a_failed_receive_nor_messages_for_later_use_a_permit(
    limited: SimulatedWorker,
) -> None:
    limited.backlog['limited'] = 10
    limited.failing.add('limited')
    permit(limited, 1)
    limited.hub.run_until(lambda: (1, 0) in limited.gate.settled)
    limited.failing.clear()
    limited.for_later.add('limited')
    limited.hub.run_until(lambda: limited.backlog['limited'] == 1)
    assert limited.receiving.pollers['limited'].used == 0
    assert not any(taken for _, taken in limited.gate.settled)
    limited.for_later.clear()
    limited.hub.run_until(lambda: limited.done['limited'] == 1)
