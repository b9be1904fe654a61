"""Tracing in processes of their own: switched off, and as a producer's page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

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


def started(folder: Path, **variables: str) -> tuple[set[str], list[str], list[str]]:
    """Return the packages, our own modules and the threads of a worker's process."""
    environment = {
        'ENV': 'local',
        'USERNAME': f't{uuid.uuid4().hex[:10]}',
        'PROMETHEUS_MULTIPROC_DIR': str(folder),
        'RESULT_DB_HOST': 'localhost',
    }
    ended = subprocess.run(
        [sys.executable, '-c', START],
        cwd=ROOT,
        env=environment | NO_DOTENV | variables,
        stdout=subprocess.PIPE,
        check=True,
    )
    modules, ours, threads = json.loads(ended.stdout.splitlines()[-1])
    return set(modules), ours, threads


def test_switched_off_nothing_of_it_is_imported_or_started(tmp_path: Path) -> None:
    modules, ours, threads = started(tmp_path)
    assert modules & (JAEGER | OTLP | {'opentracing'}) == set()
    assert ours == []
    assert threads == ['MainThread']


def test_switched_on_it_imports_what_its_exporter_needs(tmp_path: Path) -> None:
    modules, ours, threads = started(tmp_path, JAEGER_AGENT_HOST='127.0.0.1')
    assert modules & (JAEGER | OTLP) == JAEGER
    assert 'be_queue.worker.tracing.jaeger' in ours
    # The worker's main process is to be forked without any.
    assert threads == ['MainThread']

    modules, _, threads = started(
        tmp_path,
        TRACING_EXPORTER='otlp',
        OTEL_EXPORTER_OTLP_ENDPOINT='http://127.0.0.1:1',
        OTEL_PROPAGATORS='one-that-is-not-installed',
    )
    assert modules & (JAEGER | OTLP) == OTLP
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
