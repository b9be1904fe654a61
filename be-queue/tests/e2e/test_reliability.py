"""Short forms of ``make soak``: the real worker through faults and kills, every task counted."""

from __future__ import annotations

import time

import pytest

from be_queue.testing.sqs import SqsServer
from tests.soak import faults, holding, kills, sigterm
from tests.soak.table import HEAD, Row
from tests.support.counted import Counted
from tests.support.worker import Site

#: Seconds. Messages are held for four times as long, or come back after it.
TIMEOUT = 3


@pytest.fixture
def counted(site: Site, sqs: SqsServer) -> Counted:
    return Counted(site, sqs)


def assert_nothing_is_lost(row: Row) -> None:
    print(f'{HEAD}\n{row}')  # noqa: T201  (pytest shows it with the failure)
    assert row.fault == ''
    assert row.tally.run == row.tally.sent


def test_killed_children_lose_nothing(counted: Counted) -> None:
    assert_nothing_is_lost(kills.killed_children(counted, 2, 150, TIMEOUT))


def test_a_killed_worker_loses_nothing(counted: Counted) -> None:
    assert_nothing_is_lost(kills.killed_workers(counted, 1, 150, TIMEOUT))


def test_a_lost_machine_loses_nothing(counted: Counted) -> None:
    assert_nothing_is_lost(kills.lost_machines(counted, 1, 150, TIMEOUT))


def test_a_stopped_worker_loses_nothing_and_repeats_nothing(counted: Counted) -> None:
    assert_nothing_is_lost(kills.stopped_workers(counted, 1, 300, TIMEOUT))


# A long task is in test_visibility.py.
@pytest.mark.parametrize('name', ['long eta', 'prefetched'])
def test_what_is_held_longer_than_its_visibility_timeout_runs_once(
    counted: Counted, name: str
) -> None:
    row = holding.held(counted, holding.FORMS[name], TIMEOUT, others=False)
    assert_nothing_is_lost(row)
    assert row.tally.duplicates == 0


def test_a_long_countdown_on_a_fifo_queue_runs_once(counted: Counted) -> None:
    sent_at = time.time()
    row = holding.held_on_fifo(counted, TIMEOUT)
    assert_nothing_is_lost(row)
    assert row.tally.duplicates == 0
    assert counted.runs.log[0].time >= sent_at + holding.LONG * TIMEOUT


def test_a_message_published_as_an_idle_worker_stops_is_not_hidden(counted: Counted) -> None:
    trial = sigterm.hidden(counted, patience=90)
    # Not for the visibility timeout, which is a minute: it was handed back, or never taken.
    assert trial.seconds < trial.stop + 30


def test_a_worker_under_load_comes_back_from_faults_of_every_call(counted: Counted) -> None:
    with faults.busy(counted, visibility_timeout=TIMEOUT, children=2) as load:
        trials = [
            faults.faulted(load, call, fault, seconds=0.5, patience=60, window=1.0)
            for call, fault in (
                ('receive', 'done, but reset'),
                ('delete', '503'),
                ('send', 'throttled'),
                ('send', 'not JSON'),
                ('visibility', 'reset'),
                ('', faults.OUTAGE),
            )
        ]
        for trial in trials:
            assert trial.recovery is not None, trial.row
            assert load.server.health('/healthz')[0] == 200
            assert trial.row.tally.duplicates <= trial.in_flight, trial.row
    tally = counted.tally()
    assert (tally.lost, tally.dead) == (0, 0)
    assert counted.sent <= counted.runs.ends.keys() <= counted.sent | counted.refused
