from __future__ import annotations

import json
import time

import pytest
from celery import Celery
from flask import Flask

from app.utils import heartbeat
from app.utils.heartbeat import Poller, State
from app.web.checks import Check, broker_probe, results_probe
from app.web.health import STUCK_SECONDS, health
from tests.support.waiting import wait_until


@pytest.fixture
def web(configured, tmp_path):
    config = configured(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    celery_app = Celery(broker='memory://', backend='cache+memory://', set_as_current=False)
    with celery_app.connection_for_write() as connection, connection.channel() as channel:
        for queue in celery_app.amqp.queues.values():
            queue(channel).declare()
    app = Flask(__name__)
    probes = {'broker': broker_probe(celery_app), 'results': results_probe(celery_app)}
    servers = [Check(name, probe) for name, probe in probes.items()]
    app.register_blueprint(health(config, servers))
    return app.test_client(), config.heartbeat_path


def beat(path, state: State, age: float = 0.0) -> None:
    path.write_text(json.dumps({'pid': 7, 'state': state.value, 'time': time.time() - age}))


def test_before_the_first_beat_it_is_neither_alive_nor_ready(web):
    client, _ = web
    for path in ('/healthz', '/readyz'):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.json['checks']['worker'] == 'the worker has not started yet'


def test_a_consuming_worker_is_alive_and_ready(web):
    client, path = web
    heartbeat.write(path, State.CONSUMING)
    assert client.get('/healthz').status_code == 200
    # The first probes of a busy machine may be late, and readiness does not wait for them.
    wait_until(lambda: client.get('/readyz').status_code == 200, 'it is ready')
    assert client.get('/readyz').json == {
        'status': 'ok',
        'checks': {'worker': 'ok', 'broker': 'ok', 'results': 'ok'},
        'pollers': {},
    }


@pytest.mark.parametrize('state', [State.STARTING, State.STOPPING])
def test_a_worker_that_does_not_consume_is_alive_but_not_ready(web, state):
    client, path = web
    beat(path, state, age=10 * STUCK_SECONDS)
    assert client.get('/healthz').status_code == 200
    assert client.get('/readyz').status_code == 503
    assert client.get('/readyz').json['checks']['worker'] == f'the worker is {state.value}'


def test_a_worker_that_sqs_refuses_is_alive_but_not_ready(web):
    client, path = web
    pollers = {
        'prod-add': Poller('receiving', time.time()),
        'prod-slow': Poller('backing off', time.time() - 40),
    }
    heartbeat.write(path, State.CONSUMING, pollers)
    assert client.get('/healthz').status_code == 200
    answer = client.get('/readyz')
    assert answer.status_code == 503
    assert answer.json['checks']['worker'].endswith('receives from prod-slow')
    assert answer.json['pollers']['prod-slow']['state'] == 'backing off'
    assert 40 <= answer.json['pollers']['prod-slow']['seconds_since_receive'] < 60


def test_a_stuck_event_loop_is_not_alive(web):
    client, path = web
    beat(path, State.CONSUMING, age=STUCK_SECONDS + 5)
    answer = client.get('/healthz')
    assert answer.status_code == 503
    assert 'worker process 7 is stuck for 35 s' in answer.json['checks']['worker']
