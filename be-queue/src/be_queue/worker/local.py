"""For a developer's machine: an SQS server beside the worker, and how to send a first task."""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
import urllib.error
from collections.abc import Iterable
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from be_queue.worker.settings import current
from be_queue.worker.start_error import StartError
from be_queue.worker.supervisor import Child

__all__ = [
    'accepts_connections',
    'embedded_sqs',
    'first_task_command',
    'is_sqs_server',
    'open_url',
]

HOST = '127.0.0.1'
#: Sent by examples.client.
DEMO_TASKS = {'add', 'retry_demo'}
#: As `urllib.request.urlopen`, past the environment's proxy, which would not find our servers.
open_url = build_opener(ProxyHandler({})).open


def embedded_sqs(port: int) -> Child:
    """Return the child that serves SQS on ``port`` of loopback, in memory.

    Raises `StartError` when the server is not installed.
    """
    if importlib.util.find_spec('ministack') is None:
        raise StartError(
            'the embedded SQS server is not installed here: install the development dependencies '
            '(make run, or poetry install), or set SQS_ENDPOINT_URL to a server, or ENV to other '
            'than local for AWS'
        )
    return Child(
        'sqs',
        [sys.executable, '-m', 'ministack'],
        environment={
            'GATEWAY_PORT': str(port),
            'BIND_HOST': HOST,
            'SERVICES': 'sqs',
            # Would listen on every interface, whatever the two settings above say.
            'IOT_MTLS_ENABLED': '0',
            'LOG_LEVEL': 'WARNING',
        },
        # It holds everything in memory and has nothing to save.
        stop_signal=signal.SIGKILL,
    )


def accepts_connections(port: int) -> bool:
    """Return whether something listens on ``port`` of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def is_sqs_server(port: int) -> bool:
    """Return whether what listens on ``port`` is an embedded server, of another worker perhaps."""
    try:
        with open_url(f'http://{HOST}:{port}/_ministack/health', timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def first_task_command(tasks: Iterable[str]) -> str | None:
    """Return the command that sends the demo tasks; None when ``tasks`` lacks one of them."""
    if not set(tasks) >= DEMO_TASKS:
        return None
    python = Path(sys.executable)
    python = python.relative_to(current().root) if python.is_relative_to(current().root) else python
    return f'{python} -m examples.client'
