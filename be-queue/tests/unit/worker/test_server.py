"""The start of the server, in parts."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from app.config.configuration import Config
from app.config.queues import QUEUES
from be_queue import Queue, Queues
from be_queue.worker import local, server
from be_queue.worker.start_error import StartError
from be_queue.worker.supervisor import Supervisor
from examples.client.__main__ import QUEUES as SENT


def test_the_port_of_another_program_is_told(configured: Callable[..., Config]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        config = configured(SQS_ENDPOINT_URL=f'embedded:{port}')
        with pytest.raises(StartError, match=f'port {port}, for the embedded SQS server, is taken'):
            server._sqs_answers(config, Supervisor())


def test_the_demo_client_is_named_while_its_tasks_are_mapped(
    configured: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    configured()
    caplog.set_level('INFO')
    mapping = Queues(QUEUES).build_celery('local')
    assert {queue.task for queue in SENT} == local.DEMO_TASKS
    server._announce(mapping, 'http://127.0.0.1:1', 'http://127.0.0.1:2')
    assert 'send a first task: ' in caplog.text
    caplog.clear()
    own = Queues([Queue(queue_name='own', task='own')]).build_celery('local')
    server._announce(own, 'http://127.0.0.1:1', 'http://127.0.0.1:2')
    assert 'task own comes from' in caplog.text
    assert 'examples.client' not in caplog.text
