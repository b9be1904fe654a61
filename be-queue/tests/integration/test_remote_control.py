"""Remote control, which SQS has not: it is refused before it makes a queue."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from functools import partial

import pytest
from celery import Celery

from be_queue import Config, NoRemoteControlError
from be_queue.testing.sqs import SqsServer
from tests.support.process import ROOT


def test_remote_control_is_refused_and_makes_no_queue(sqs: SqsServer) -> None:
    there = sqs.queue_names()
    app = Celery(set_as_current=False)
    app.config_from_object(
        Config(['add'], SQS_ENDPOINT_URL=sqs.url, result_backend='cache+memory://')
    )

    def listen() -> None:
        receiver = app.events.Receiver(app.connection_for_read())
        next(receiver.itercapture(timeout=1))

    revoke = partial(app.control.revoke, 'the-id')
    inspect, result = app.control.inspect(), app.AsyncResult('the-id')
    for command in (app.control.ping, inspect.active, revoke, result.revoke, listen):
        with pytest.raises(NoRemoteControlError, match='dashboard'):
            command()
    assert sqs.queue_names() == there


def test_a_command_for_remote_control_fails_in_one_line(sqs: SqsServer) -> None:
    there = sqs.queue_names()
    own = {'SQS_ENDPOINT_URL': sqs.url, 'ENV': 'local', 'USERNAME': uuid.uuid4().hex[:8]}

    run = subprocess.run(
        [sys.executable, '-m', 'celery', '-A', 'app.worker', 'inspect', 'ping'],
        cwd=ROOT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode != 0
    (line,) = run.stderr.splitlines()
    assert 'Remote control' in line
    assert 'dashboard' in line
    assert sqs.queue_names() == there
