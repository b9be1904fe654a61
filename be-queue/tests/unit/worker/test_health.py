from __future__ import annotations

import json
import sys
import threading
import time

import pytest
from celery import Celery
from flask import Flask

from be_queue.testing.waiting import wait_until
from be_queue.worker.web.health import (
    STUCK_SECONDS,
    TIMEOUT_SECONDS,
    Check,
    broker_probe,
    faults,
    health,
    results_probe,
)

# The package has a function of the same name.
MODULE = sys.modules[Check.__module__]


@pytest.fixture
def web(configured, tmp_path):
    config = configured(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    celery_app = Celery(broker='memory://', backend='cache+memory://', set_as_current=False)
    with celery_app.connection_for_write() as connection, connection.channel() as channel:
        for queue in celery_app.amqp.queues.values():
            queue(channel).declare()
    app = Flask(__name__)
    probes = {'broker': broker_probe(celery_app), 'results': results_probe(celery_app)}
    app.register_blueprint(health(config, [Check(name, probes[name]) for name in probes]))
    return app.test_client(), config.heartbeat_path


@pytest.mark.parametrize(
    ('state', 'age', 'poller', 'alive', 'ready', 'worker'),
    [
        (None, 0, None, 503, 503, 'the worker has not started yet'),
        ('starting', 10 * STUCK_SECONDS, None, 200, 503, 'the worker is starting'),
        ('stopping', 10 * STUCK_SECONDS, None, 200, 503, 'the worker is stopping'),
        ('consuming', 0, 'receiving', 200, 200, 'ok'),
        ('consuming', 0, 'backing off', 200, 503, 'SQS refuses or does not answer receives from q'),
        (
            *('consuming', STUCK_SECONDS + 5, None, 503, 503),
            'the event loop of worker process 7 is stuck for 35 s',
        ),
    ],
)
def test_health_follows_the_heartbeat(web, monkeypatch, state, age, poller, alive, ready, worker):
    client, path = web
    now = time.time()
    monkeypatch.setattr(time, 'time', lambda: now)
    pollers = {'q': {'state': poller, 'last_receive': now - 40}} if poller else {}
    if state:
        beat = {'pid': 7, 'state': state, 'time': now - age, 'pollers': pollers}
        path.write_text(json.dumps(beat))
    assert client.get('/healthz').status_code == alive
    # The first probes of a busy machine may be late, and readiness does not wait for them.
    expected = {'worker': worker, 'broker': 'ok', 'results': 'ok'}
    wait_until(lambda: client.get('/readyz').json['checks'] == expected, 'the servers answer')
    found = client.get('/readyz')
    assert found.status_code == ready
    shown = {'q': {'state': poller, 'seconds_since_receive': 40}} if poller else {}
    status = 'ok' if ready == 200 else 'failing'
    assert found.json == {'status': status, 'checks': expected, 'pollers': shown}


def test_a_fault_is_the_words_of_the_cause_also_while_the_next_probe_hangs():
    release = threading.Event()

    def probe() -> None:
        started.append(1)
        if len(started) > 1:
            release.wait()
        raise RuntimeError('failed to ask') from OSError('gone\nfor good')

    started = []
    check = Check('a', probe)
    wait_until(lambda: faults([check]) == {'a': 'OSError: gone for good'}, 'it is said')
    wait_until(lambda: faults([check]) and len(started) > 1, 'the next probe hangs')
    assert faults([check]) == {'a': 'OSError: gone for good'}
    release.set()


def test_a_server_that_was_well_is_so_until_it_has_not_answered_for_a_while(monkeypatch):
    monkeypatch.setattr(MODULE, 'FRESH_SECONDS', 0)
    release, started = threading.Event(), []

    def probe() -> None:
        started.append(1)
        if len(started) > 1:
            release.wait()

    check = Check('a', probe)
    wait_until(lambda: faults([check]) == {'a': None}, 'it answers')
    # The second probe takes longer than the timeout, as on a busy machine.
    assert faults([check]) == {'a': None}
    assert len(started) == 2
    monkeypatch.setattr(MODULE, 'PATIENCE_SECONDS', TIMEOUT_SECONDS)
    assert faults([check])['a'].startswith('no answer for')
    release.set()
    wait_until(lambda: faults([check]) == {'a': None}, 'it answers again')
