"""The web server's process, and what it starts and stops."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

import app.server
from tests.support.sqs import SqsServer
from tests.support.tree import children
from tests.support.waiting import wait_until
from tests.support.web import Site


@pytest.fixture
def results(tmp_path: Path) -> dict[str, str]:
    return {'CELERY_RESULT_BACKEND': f'db+sqlite:///{tmp_path}/results.sqlite'}


# Not with SIGQUIT: gunicorn's handler deadlocks when it interrupts the accepting of a request.
def test_integrations_start_and_end_with_the_process_that_serves(
    sqs: SqsServer, results: dict[str, str], tmp_path: Path
) -> None:
    site, notes = Site(sqs.url, results, tmp_path), tmp_path / 'notes'
    with site.server('tests.support.recorded_web:create_app()', NOTES=str(notes)) as program:
        site.get('/metrics')
        started = notes.read_text()
        pid = started.split()[-1]
        assert started == f'start web {pid}\n'
        assert int(pid) != program.process.pid
        program.ends(signal.SIGTERM)
        assert notes.read_text() == f'{started}stop {pid}\n'


def test_one_process_serves_whatever_a_platform_sets(
    sqs: SqsServer, results: dict[str, str], tmp_path: Path
) -> None:
    site = Site(sqs.url, results, tmp_path)
    with socket.create_server(('127.0.0.1', site.port)) as listener:
        web = app.server._web(listener)
        web.environment = site.environment | {'WEB_CONCURRENCY': '3'}
        web.start()
        try:
            wait_until(lambda: children(web.pid), 'a process is started')
            site.get('/metrics')  # which takes longer than to start others
            # Each would ask SQS for the depths of the queues by itself.
            assert len(children(web.pid)) == 1
        finally:
            web.kill_group()
            wait_until(lambda: web.status is not None, 'the web server has ended')
