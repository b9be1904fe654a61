"""The example client, run as its README says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from app.config.queues import QUEUES as WORKER_QUEUES
from be_queue.testing.ports import free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from examples.client.__main__ import QUEUES as CLIENT_QUEUES
from tests.support.worker import ROOT, Server, Site

LINE = re.compile(r'^(add|retry_demo) +([0-9a-f-]{36})  (\w+)  (\d+\.\d\d) s  (.*)$', re.MULTILINE)
COMMAND = [sys.executable, '-m', 'examples.client']


def client(site: Site, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=site.environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_results_come_from_postgresql(server: Server, postgres: PostgresServer) -> None:
    one_of_each = client(server.site)
    many = client(server.site, '--count', '50')

    assert (one_of_each.returncode, one_of_each.stderr) == (0, '')
    found = {task: (state, value) for task, _, state, _, value in LINE.findall(one_of_each.stdout)}
    assert found == {
        'add': ('SUCCESS', '5'),
        'retry_demo': ('SUCCESS', "'succeeded at attempt 3'"),
    }
    with postgres.connect() as connection:
        for task, task_id, *_ in LINE.findall(one_of_each.stdout):
            row = connection.execute(
                'SELECT name, status FROM celery_taskmeta WHERE task_id = %s', [task_id]
            ).fetchone()
            assert row == (task, 'SUCCESS')

    assert (many.returncode, many.stderr) == (0, '')
    assert re.search(r'^50 tasks sent in [\d.]+ s, \d+ per second$', many.stdout, re.MULTILINE)
    assert re.search(r'^50 SUCCESS in [\d.]+ s, \d+ per second$', many.stdout, re.MULTILINE)


def test_it_reads_the_local_worker_s_file(tmp_path: Path, sqs: SqsServer) -> None:
    site = Site(tmp_path, sqs.url, database={})
    with site.worker():
        ended = client(site)
    assert (ended.returncode, ended.stderr) == (0, '')
    assert [task for task, *_ in LINE.findall(ended.stdout)] == ['add', 'retry_demo']


def test_a_copy_needs_only_the_wheel(server: Server, tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'examples' / 'client', tmp_path / 'client')
    shutil.copytree(ROOT / 'be-queue/src/be_queue', tmp_path / 'wheel' / 'be_queue')
    ended = subprocess.run(
        [sys.executable, 'client'],
        cwd=tmp_path,
        env=server.site.environment | {'PYTHONPATH': str(tmp_path / 'wheel')},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, '')
    assert len(LINE.findall(ended.stdout)) == 2


def test_the_wheel_s_page_is_right(server: Server, sqs: SqsServer, tmp_path: Path) -> None:
    (tmp_path / 'shop').mkdir()
    page = (ROOT / 'be-queue' / 'README.md').read_text()
    for path, code in re.findall(
        r'^```python\n# (\S+)\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / path).write_text(code)

    prefix = f'page-{uuid.uuid4().hex[:10]}'
    environment = server.site.environment | {'PYTHONPATH': f'{ROOT}', 'QUEUE_PREFIX': prefix}

    def python(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

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
    ended = client(site, '--timeout', '0.5')
    assert ended.returncode == 1
    assert 'has no result after 0.5 s' in ended.stderr
    assert site.queue('add') in ended.stderr
    assert site.environment['SQS_ENDPOINT_URL'].rpartition('@')[2] in ended.stderr
    assert f'@{postgres.host}:{postgres.port}/{postgres.name}' in ended.stderr
    assert f':{postgres.password}@' not in ended.stderr


def test_a_broker_that_is_away_is_one_line(site: Site) -> None:
    port = free_port()
    ended = client(site, SQS_ENDPOINT_URL=f'http://test:secret@127.0.0.1:{port}')
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f'cannot send to 127.0.0.1:{port}: EndpointConnectionError')
    assert 'SQS_ENDPOINT_URL' in line
    assert 'secret' not in line


def test_a_database_that_is_away_is_one_line(site: Site) -> None:
    port = free_port()
    ended = client(site, RESULT_DB_PORT=str(port), RESULT_DB_PASS='secret')
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith('add is sent, but results cannot be read from postgresql')
    assert 'RESULT_DB_*' in line
    assert 'secret' not in line


@pytest.mark.parametrize(
    ('env', 'endpoint', 'fault'),
    [
        ('two words', '', "env='two words'"),
        ('prod', 'embedded', 'SQS_ENDPOINT_URL=embedded: the embedded server is for ENV=local'),
    ],
)
def test_a_bad_setting_is_one_line(site: Site, env: str, endpoint: str, fault: str) -> None:
    ended = client(site, '--env', env, SQS_ENDPOINT_URL=endpoint)
    assert ended.returncode == 1
    assert ended.stderr.startswith(fault)
    assert len(ended.stderr.splitlines()) == 1


def test_it_knows_the_embedded_server_and_need_not_wait(site: Site, sqs: SqsServer) -> None:
    ended = client(site, '--count', '3', '--no-wait', SQS_ENDPOINT_URL=f'embedded:{sqs.port}')
    assert (ended.returncode, ended.stderr) == (0, '')
    assert sqs.visible(site.queue('add')) == 3


def test_ctrl_c_ends_it_quietly(site: Site, sqs: SqsServer) -> None:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        queue = site.queue('retry_demo')
        wait_until(
            lambda: queue in sqs.queue_names() and sqs.visible(queue) == 1, 'both tasks are sent'
        )
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.split() == [b'stopped']


def test_its_mapping_is_the_worker_s() -> None:
    assert {(queue.queue_name, queue.task) for queue in CLIENT_QUEUES} <= {
        (queue.queue_name, queue.task) for queue in WORKER_QUEUES
    }
