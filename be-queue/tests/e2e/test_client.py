"""The example client, run as its README says; tests/template runs it with local results."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config.queues import QUEUES as WORKER_QUEUES
from be_queue.testing.ports import free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from examples.client.__main__ import QUEUES as CLIENT_QUEUES
from tests.support.worker import ROOT, Site

LINE = re.compile(r'^(add|retry_demo) +[0-9a-f-]{36}  (\w+)  \d+\.\d\d s  (.*)$', re.MULTILINE)
COMMAND = [sys.executable, '-m', 'examples.client']


@pytest.fixture(scope='module')
def served(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Site]:
    """A site whose worker runs what is sent."""
    site = Site(tmp_path_factory.mktemp('client'), sqs.url, postgres.environment)
    with site.worker():
        yield site


def client(site: Site, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = site.environment | variables
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def fault(site: Site, *arguments: str, **variables: str) -> str:
    """Return the one line with which it ends."""
    ended = client(site, *arguments, **variables)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    return line


def test_it_sends_many_and_shows_how_fast_they_went(served: Site) -> None:
    ended = client(served, '--count', '50')
    assert (ended.returncode, ended.stderr) == (0, '')
    assert re.search(r'^50 tasks sent in [\d.]+ s, \d+ per second$', ended.stdout, re.MULTILINE)
    assert re.search(r'^50 SUCCESS in [\d.]+ s, \d+ per second$', ended.stdout, re.MULTILINE)


def test_a_copy_needs_only_the_wheel(served: Site, tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'examples' / 'client', tmp_path / 'client')
    shutil.copytree(ROOT / 'be-queue/src/be_queue', tmp_path / 'wheel' / 'be_queue')
    ended = subprocess.run(
        [sys.executable, 'client'],
        cwd=tmp_path,
        env=served.environment | {'PYTHONPATH': str(tmp_path / 'wheel')},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, '')
    assert LINE.findall(ended.stdout) == [
        ('add', 'SUCCESS', '5'),
        ('retry_demo', 'SUCCESS', "'succeeded at attempt 3'"),
    ]


def test_the_wheel_s_page_is_right(served: Site, sqs: SqsServer, tmp_path: Path) -> None:
    (tmp_path / 'shop').mkdir()
    page = (ROOT / 'be-queue' / 'README.md').read_text()
    for path, code in re.findall(
        r'^```python\n# (\S+)\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / path).write_text(code)

    prefix = f'page-{uuid.uuid4().hex[:10]}'
    environment = served.environment | {'PYTHONPATH': f'{ROOT}', 'QUEUE_PREFIX': prefix}

    def python(*arguments: str) -> str:
        return subprocess.check_output(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, text=True
        )

    assert python('-m', 'shop.send').split()[1:] == ['5']
    assert python('-m', 'shop.send_many') == '100 sent\n'
    python('-m', 'shop.by_name')
    assert sqs.visible(f'{prefix}-billing') == 1
    python('-m', 'unittest', 'shop/tests.py')
    python(
        '-c',
        'from unittest import main; from be_queue.testing import build_functional_tests; '
        'from shop.own_settings import app, QUEUES; Tests = build_functional_tests(app, QUEUES); '
        'main()',
    )


def test_without_a_worker_it_says_what_to_check(site: Site, postgres: PostgresServer) -> None:
    line = fault(site, '--timeout', '0.5')
    assert 'has no result after 0.5 s' in line
    assert site.queue('add') in line
    assert site.environment['SQS_ENDPOINT_URL'].rpartition('@')[2] in line
    assert f'@{postgres.host}:{postgres.port}/{postgres.name}' in line
    assert f':{postgres.password}@' not in line


def test_servers_that_are_unavailable_are_one_line(site: Site) -> None:
    port = free_port()
    line = fault(site, SQS_ENDPOINT_URL=f'http://test:secret@127.0.0.1:{port}')
    assert line.startswith(f'cannot send to 127.0.0.1:{port}: EndpointConnectionError')
    assert 'SQS_ENDPOINT_URL' in line
    assert 'secret' not in line

    line = fault(site, RESULT_DB_PORT=str(port), RESULT_DB_PASS='secret')
    assert line.startswith('add is sent, but results cannot be read from postgresql')
    assert 'RESULT_DB_*' in line
    assert 'secret' not in line


def test_a_bad_setting_is_one_line(site: Site) -> None:
    assert fault(site, '--env', 'two words').startswith("env='two words'")


def test_ctrl_c_ends_it_quietly(site: Site, sqs: SqsServer) -> None:
    # Its own name of the embedded server.
    environment = site.environment | {'SQS_ENDPOINT_URL': f'embedded:{sqs.port}'}
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        queue = site.queue('retry_demo')
        wait_until(
            lambda: queue in sqs.queue_names() and sqs.visible(queue) == 1, 'both tasks are sent'
        )
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b'')


def test_its_mapping_is_the_worker_s() -> None:
    assert {(queue.queue_name, queue.task) for queue in CLIENT_QUEUES} <= {
        (queue.queue_name, queue.task) for queue in WORKER_QUEUES
    }
