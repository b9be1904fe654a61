from __future__ import annotations

import time
from pathlib import Path

import pytest

from be_queue.worker import heartbeat
from be_queue.worker.heartbeat import Load, Poller, State
from be_queue.worker.web.metrics import POLLER_STATES, HeartbeatCollector

Values = dict[tuple[str, ...], float]


def values(path: Path) -> Values:
    """Return the samples by name and values of labels."""
    collected = HeartbeatCollector(path, 'worker').collect()
    samples = [sample for metric in collected for sample in metric.samples]
    return {(s.name.removeprefix('worker_'), *s.labels.values()): s.value for s in samples}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'worker.json'


def test_all_that_the_heartbeat_of_a_consuming_worker_holds_is_shown(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values(path) == {}
    now = time.time()
    monkeypatch.setattr(time, 'time', lambda: now)
    pollers = {
        'prod-add': Poller('receiving', now - 1, oldest_due=now - 50),
        'prod-slow': Poller('backing off', now - 30),
    }
    load = Load(processes=4, busy=3, oldest_start=now - 20, prefetched={'prod-add': 7})
    heartbeat.write(path, State.CONSUMING, pollers, load)
    now += 40  # since when the event loop has not turned
    states = {
        ('poller_state', queue, state): float(pollers[queue].state == state)
        for queue in pollers
        for state in POLLER_STATES
    }
    assert values(path) == states | {
        ('worker_heartbeat_age_seconds',): 40,
        ('poller_seconds_since_receive', 'prod-add'): 41,
        ('poller_seconds_since_receive', 'prod-slow'): 70,
        ('queue_oldest_message_age_estimate_seconds', 'prod-add'): 90,
        ('queue_oldest_message_age_estimate_seconds', 'prod-slow'): 0,
        ('pool_processes', 'busy'): 3,
        ('pool_processes', 'idle'): 1,
        ('tasks_oldest_running_seconds',): 60,
        ('consumer_prefetched_messages', 'prod-add'): 7,
    }


@pytest.mark.parametrize('state', [State.STARTING, State.STOPPING])
def test_a_worker_that_does_not_consume_is_neither_stuck_nor_stalled(
    path: Path, state: State
) -> None:
    pollers = {'prod-add': Poller('receiving', time.time(), oldest_due=time.time())}
    heartbeat.write(path, state, pollers, Load(2, 0, None, {}))
    # Running tasks are waited for, without the event loop, and can be overdue all the same.
    assert values(path) == {
        ('pool_processes', 'busy'): 0,
        ('pool_processes', 'idle'): 2,
        ('tasks_oldest_running_seconds',): 0,
    }
