"""The checks of `be-queue doctor` of a worker's integrations, on real ones."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from be_queue import Queue, Queues
from be_queue.doctor import examine
from be_queue.testing.ports import free_port
from be_queue.worker import doctor
from be_queue.worker.history import migrate
from be_queue.worker.settings import Settings, WorkerConfig
from tests.integration.scene import Scene
from tests.support import sentry_endpoint, spans
from tests.support.faulty_service import says

Said = Callable[..., dict[str, str]]


@pytest.fixture
def said(scene: Scene, tmp_path: Path) -> Said:
    """Return a function that examines a worker with these settings; faults and notes by check."""

    def said(**settings: Any) -> dict[str, str]:
        given = {'username': scene.prefix, 'sqs_endpoint_url': scene.sqs.url, **settings}
        config = WorkerConfig(
            Settings(env='local', **given),
            Queues([Queue(queue_name='work', task='work')]),
            result_backend=f'db+sqlite:///{tmp_path}/results.sqlite',
        )
        app = Celery(set_as_current=False)
        app.config_from_object(config)
        return {finding.check: finding.fault or finding.note or 'ok' for finding in examine(app)}

    return said


def test_the_tables_of_the_history_must_be_up_to_date(said: Said, app: Celery) -> None:
    shown = said()
    assert shown['history'].endswith('are missing in the result database: run `be-queue migrate`')
    assert not {'Vault', 'Sentry', 'traces'} & set(shown), 'they are switched off'
    migrate(app)
    assert said()['history'] == 'ok'


def test_sentry_must_take_reports_with_this_dsn(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sentry_endpoint.running_sentry() as sentry:
        assert said(sentry_dsn=sentry.dsn)['Sentry'] == 'ok'
        assert sentry.requests == 1
        assert sentry.events == []
        sentry.fail(says(429, b'{}'))
        assert said(sentry_dsn=sentry.dsn)['Sentry'] == 'ok'
        sentry.repair()
        wrong = sentry.dsn.replace(sentry_endpoint.KEY, 'hush')
        shown = said(sentry_dsn=wrong)['Sentry']
        assert shown == 'HTTPError: HTTP Error 401: Unauthorized: check SENTRY_DSN'
    assert 'Connection refused' in said(sentry_dsn=sentry.dsn)['Sentry']
    monkeypatch.setattr(doctor, 'TIMEOUT', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        dsn = f'http://key@127.0.0.1:{silent.getsockname()[1]}/1'
        assert said(sentry_dsn=dsn)['Sentry'] == 'TimeoutError: timed out: check SENTRY_DSN'


def test_a_collector_must_take_spans(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    with spans.collector() as collector:
        endpoint = {'tracing_exporter': 'otlp', 'otel_exporter_otlp_endpoint': collector.url}
        assert said(**endpoint)['traces'] == 'ok'
        assert collector.requests == 1
        collector.status = 401
        shown = said(**endpoint)['traces']
        assert '401' in shown
        assert 'check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS' in shown
    monkeypatch.setattr(doctor, 'TIMEOUT', 0.5)
    assert 'ConnectionError: ' in said(**endpoint)['traces']


def test_the_agents_host_must_be_there(said: Said) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(('127.0.0.1', 0))
        port = agent.getsockname()[1]
        shown = said(jaeger_agent_host='127.0.0.1', jaeger_agent_port=port)['traces']
        assert shown == 'an agent does not answer; that none is there would have been said'
    shown = said(jaeger_agent_host='127.0.0.1', jaeger_agent_port=free_port())['traces']
    assert 'ConnectionRefusedError' in shown
    shown = said(jaeger_agent_host='no.such.host.invalid')['traces']
    assert shown.startswith('gaierror: ')
    assert shown.endswith(': check JAEGER_AGENT_HOST and JAEGER_AGENT_PORT')
