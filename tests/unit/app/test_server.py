"""The start of the server, in parts."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from app import local, server
from app.config.configuration import Config, WorkerConfig
from app.start_error import StartError
from app.supervisor import Supervisor
from be_queue import Queue, Queues
from examples.client.__main__ import QUEUES as SENT


def test_the_port_of_another_program_is_told(configured: Callable[..., Config]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        config = configured(SQS_ENDPOINT_URL=f'embedded:{port}')
        with pytest.raises(StartError, match=f'port {port}, for the embedded SQS server, is taken'):
            server._sqs_answers(config, Supervisor())


def test_the_demo_client_is_named_while_its_tasks_are_mapped(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    caplog.set_level('INFO')
    worker_config = WorkerConfig(configured())
    assert {queue.task for queue in SENT} == local.DEMO_TASKS
    server._announce('http://127.0.0.1:1', worker_config)
    assert 'send a first task: ' in caplog.text
    caplog.clear()
    own = Queues([Queue(queue_name='own', task='own')]).build_celery('local')
    monkeypatch.setattr(server, 'QUEUES', own)
    server._announce('http://127.0.0.1:1', worker_config)
    assert 'task own comes from' in caplog.text
    assert 'examples.client' not in caplog.text
