"""Tracing in processes of their own: switched off, and as a producer's page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from be_queue.testing.processes import NO_DOTENV
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.tracing import W3C
from tests.support import spans
from tests.support.process import ROOT

#: What tracing is made of. (redis imports the rest of OpenTelemetry where it is installed.)
JAEGER = {'jaeger_client', 'thrift', 'tornado', 'threadloop'}
OTLP = {'opentelemetry.sdk.trace', 'opentelemetry.exporter', 'opentelemetry.shim'}

START = """
import json
import sys
import threading

import app.worker
from be_queue.worker import tracing
from be_queue.worker.celery_signals import processes
from be_queue.worker.role import Role

processes._start(Role.CONSUMER)
modules = {'.'.join(name.split('.')[:depth]) for name in sys.modules for depth in (1, 2, 3)}
ours = [name for name in sys.modules if name.startswith('be_queue.worker.tracing.')]
threads = [thread.name for thread in threading.enumerate()]
tracing.stop()
print(json.dumps([sorted(modules), ours, threads]))
"""


@pytest.mark.parametrize(
    ('variables', 'imported'),
    [
        ({}, set()),
        ({'JAEGER_AGENT_HOST': '127.0.0.1'}, JAEGER),
        ({'TRACING_EXPORTER': 'otlp', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1'}, OTLP),
    ],
    ids=['off', 'jaeger', 'otlp'],
)
def test_what_is_switched_on_alone_is_imported_and_the_main_process_has_no_threads(
    tmp_path: Path, variables: dict[str, str], imported: set[str]
) -> None:
    environment = {
        'ENV': 'local',
        'USERNAME': 'somebody',
        'PROMETHEUS_MULTIPROC_DIR': str(tmp_path),
        'RESULT_DB_HOST': 'localhost',
        'OTEL_PROPAGATORS': 'one-that-is-not-installed',
    }
    ended = subprocess.run(
        [sys.executable, '-c', START],
        cwd=ROOT,
        env=environment | NO_DOTENV | variables,
        stdout=subprocess.PIPE,
        check=True,
    )
    modules, ours, threads = json.loads(ended.stdout.splitlines()[-1])
    assert (JAEGER | OTLP).intersection(modules) == imported
    assert ('opentracing' in modules) == bool(ours) == bool(variables)
    # It is to be forked.
    assert threads == ['MainThread']


def test_a_producer_that_does_as_its_page_says_is_traced(tmp_path: Path, sqs: SqsServer) -> None:
    page = (ROOT / 'be-queue' / 'README.md').read_text()
    (tmp_path / 'shop').mkdir()
    blocks = re.findall(r'^```python\n# (\S+)\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    for path, code in blocks:
        (tmp_path / path).write_text(code)
    username = f't{uuid.uuid4().hex[:10]}'
    send = 'import shop.traced, sys; shop.traced.app.send_task("add", (2, 3)); sys.stdin.read()'
    with spans.agent() as received:
        producer = subprocess.Popen(
            [sys.executable, '-c', send],
            cwd=tmp_path,
            env={
                'ENV': 'local',
                'USERNAME': username,
                'PYTHONPATH': str(ROOT),
                'SQS_ENDPOINT_URL': sqs.url,
                'JAEGER_AGENT_HOST': '127.0.0.1',
                'JAEGER_AGENT_PORT': str(received.port),
            },
            stdin=subprocess.PIPE,
        )
        try:
            sent = received.wait('send add')
        finally:
            producer.kill()
            producer.communicate()
    assert sent.process['service.name'] == 'shop'
    client = sqs.client()
    name = f'{username}-local-python-backend-worker-template-add'
    url = client.get_queue_url(QueueName=name)['QueueUrl']
    (message,) = wait_until(
        lambda: client.receive_message(QueueUrl=url).get('Messages'), 'the message is there'
    )
    headers = json.loads(message['Body'])['headers']
    assert headers[W3C] == f'00-{sent.trace:032x}-{sent.id:016x}-01'
