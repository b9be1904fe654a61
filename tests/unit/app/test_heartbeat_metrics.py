from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.utils import heartbeat
from app.utils.heartbeat import Load, Poller, State
from app.web.heartbeat_metrics import HeartbeatCollector


def registry(path: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(HeartbeatCollector(path, 'worker'))
    return registry


def test_what_the_heartbeat_says_is_shown(tmp_path: Path) -> None:
    path, now = tmp_path / 'worker.json', time.time()
    pollers = {
        'prod-add': Poller('receiving', now, oldest_due=now - 50),
        'prod-slow': Poller('receiving', now),
    }
    load = Load(processes=4, busy=3, oldest_start=now - 20, prefetched={'prod-add': 7})
    heartbeat.write(path, State.CONSUMING, pollers, load)
    value = registry(path).get_sample_value
    assert value('worker_pool_processes', {'state': 'busy'}) == 3
    assert value('worker_pool_processes', {'state': 'idle'}) == 1
    assert value('worker_consumer_prefetched_messages', {'queue': 'prod-add'}) == 7
    assert 20 <= value('worker_tasks_oldest_running_seconds') < 50
    age = 'worker_queue_oldest_message_age_estimate_seconds'
    assert 50 <= value(age, {'queue': 'prod-add'}) < 80
    assert value(age, {'queue': 'prod-slow'}) == 0


def test_nothing_runs(tmp_path: Path) -> None:
    path = tmp_path / 'worker.json'
    heartbeat.write(path, State.CONSUMING, {}, Load(2, 0, None, {}))
    assert registry(path).get_sample_value('worker_tasks_oldest_running_seconds') == 0


def test_without_a_load_there_is_nothing_to_show(tmp_path: Path) -> None:
    path = tmp_path / 'worker.json'
    for _ in range(2):
        assert registry(path).get_sample_value('worker_tasks_oldest_running_seconds') is None
        heartbeat.write(path, State.STARTING)


def test_each_poller_has_one_state_and_an_age(tmp_path: Path) -> None:
    path = tmp_path / 'worker.json'
    heartbeat.write(path, State.CONSUMING, {'prod-add': Poller('backing off', time.time() - 30)})
    metrics = registry(path)
    states = {
        state: metrics.get_sample_value(
            'worker_poller_state', {'queue': 'prod-add', 'state': state}
        )
        for state in ('idle', 'receiving', 'full', 'backing off')
    }
    assert states == {'idle': 0, 'receiving': 0, 'full': 0, 'backing off': 1}
    age = metrics.get_sample_value('worker_poller_seconds_since_receive', {'queue': 'prod-add'})
    assert 30 <= age < 60


def test_before_the_first_beat_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert registry(tmp_path / 'worker.json').get_sample_value('worker_poller_state') is None


def test_the_age_of_the_heartbeat_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'worker.json'
    heartbeat.write(path, State.CONSUMING)
    now = time.time()
    monkeypatch.setattr(time, 'time', lambda: now + 40)
    age = registry(path).get_sample_value('worker_worker_heartbeat_age_seconds')
    assert age == pytest.approx(40, abs=5)


@pytest.mark.parametrize('state', [State.STARTING, State.STOPPING])
def test_a_worker_that_does_not_consume_is_neither_stuck_nor_stalled(
    tmp_path: Path, state: State
) -> None:
    path, now = tmp_path / 'worker.json', time.time()
    pollers = {'prod-add': Poller('receiving', now, oldest_due=now - 50)}
    heartbeat.write(path, state, pollers, Load(2, 1, now - 20, {}))
    metrics = registry(path)
    names = {sample.name for metric in metrics.collect() for sample in metric.samples}
    # Running tasks are waited for, without the event loop, and can be overdue all the same.
    assert names == {'worker_pool_processes', 'worker_tasks_oldest_running_seconds'}
