from __future__ import annotations

import time

from prometheus_client import CollectorRegistry

from app.utils import heartbeat
from app.utils.heartbeat import Poller, State
from app.web.pollers import PollerCollector


def registry(path) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PollerCollector(path, 'worker'))
    return registry


def test_each_poller_has_one_state_and_an_age(tmp_path):
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


def test_before_the_first_beat_there_is_nothing_to_show(tmp_path):
    assert registry(tmp_path / 'worker.json').get_sample_value('worker_poller_state') is None
