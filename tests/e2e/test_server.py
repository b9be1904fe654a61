"""The process tree: how it starts, stops and falls."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.ports import free_port
from tests.support.sqs import SqsServer
from tests.support.tree import alive, as_process_1, listening_addresses, with_read_only
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, Server, Site


def wait_started(site: Site, seconds: float, count: int = 1) -> list:
    results = [site.producer().send_task('slow', (seconds,)) for _ in range(count)]
    wait_until(
        lambda: sum(result.state == 'STARTED' for result in results) >= min(count, 2),
        'the tasks run',
    )
    return results


def assert_all_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(map(alive, pids)), f'the processes {pids} are gone', timeout=10)


def test_each_queue_has_a_poller_that_can_be_seen(server: Server) -> None:
    consumed = {server.site.queue(name) for name in ('add', 'retry-demo', 'slow')}
    consumed.add(f'{server.site.username}-local-celery')
    wait_until(lambda: server.metric('poller_state', state='receiving') == 4, 'all receive')
    for path in ('/healthz', '/readyz'):
        assert json.loads(server.get(path)[1])['pollers'].keys() == consumed
    assert server.metric('poller_state') == 4  # one state each


@pytest.mark.parametrize('path', ['/nowhere', '/healthz/'])
def test_errors_of_the_web_server_are_json(server: Server, path: str) -> None:
    status, body = server.get(path)
    assert status == 404
    assert json.loads(body) == {'status': 404, 'error': 'Not Found', 'path': path}


def test_a_worker_may_consume_some_queues_only(site: Site, sqs: SqsServer) -> None:
    consumed = {site.queue('slow'), f'{site.username}-local-celery'}
    names = 'python-backend-worker-template-slow, '
    with site.server(CONSUME_QUEUES=names, QUEUE_DEPTH_INTERVAL=1) as server:
        for name in ('add', 'slow'):
            site.producer().send_task(name, (0, 0)[: 1 + (name == 'add')])
        wait_until(lambda: server.metric('worker_tasks_count_total', state='SUCCESS'), 'it runs')
        assert json.loads(server.get('/readyz')[1])['pollers'].keys() == consumed
        wait_until(lambda: server.metric('poller_state', queue=site.queue('slow')), 'it polls')
        page, metrics = server.get('/')[1], server.get('/metrics')[1]
        lines = [line for line in server.log.splitlines() if ' comes from queue ' in line]
        assert sqs.visible(site.queue('add')) == 1
    assert [site.queue('slow') in line for line in lines] == [True]
    assert site.queue('slow') in page
    assert site.queue('add') not in page
    assert site.queue('add') not in metrics


def test_a_queue_that_is_not_mapped_stops_the_start(site: Site) -> None:
    with site.server(wait=False, CONSUME_QUEUES='slow') as server:
        assert server.wait_ended() == 1
        last = server.log.splitlines()[-1]
    assert "CONSUME_QUEUES='slow': no queue of the mapping: slow; it has python-" in last


@pytest.mark.parametrize('flags', [(), ('-X', 'another')])
def test_a_plain_worker_leaves_the_platform_queue_alone(
    site: Site, sqs: SqsServer, flags: tuple[str, ...]
) -> None:
    name = f'{site.username}-local-platform.fifo'
    app = build(site.username, PLATFORM_QUEUE_NAME='platform.fifo', SQS_ENDPOINT_URL=sqs.url)
    with own_worker(site, *flags, PLATFORM_QUEUE_NAME='platform.fifo') as worker:
        for _ in range(5):
            app.send_task('tests.add', (1, 2), ignore_result=True)
        wait_until(lambda: worker.log.count(' succeeded in ') >= 5, 'each has run')
        wait_until(lambda: sqs.in_flight(f'{site.username}-local-tests-add') == 0, 'deleted')
        assert sqs.visible(name) == 5
        assert worker.log.count(' received') == 5


def test_sigterm_lets_running_tasks_finish(site: Site, sqs: SqsServer) -> None:
    with site.server() as server:
        pids = list(server.processes())
        results = wait_started(site, 3, count=2)
        server.signal(signal.SIGTERM)
        wait_until(
            lambda: server.health('/readyz')[1].get('worker') == 'the worker is stopping',
            'readiness says that the worker stops',
        )
        assert server.health('/readyz')[0] == 503
        assert server.health('/healthz')[0] == 200
        assert server.wait_ended() == 0
        assert [result.get(timeout=5) for result in results] == [3, 3]
        assert sqs.in_flight(site.queue('slow')) == sqs.visible(site.queue('slow')) == 0
        assert_all_gone(pids)


def test_ctrl_c_twice_stops_at_once(site: Site) -> None:
    with site.server() as server:
        pids = list(server.processes())
        wait_started(site, 600)
        server.signal(signal.SIGINT)
        wait_until(lambda: 'SIGINT: stopping' in server.log, 'the first signal is taken')
        server.signal(signal.SIGINT)
        server.wait_ended(timeout=20)
        assert 'SIGINT again: stopping at once' in server.log
        assert_all_gone(pids)


def test_a_second_signal_leaves_tasks_the_time_of_celerys_soft_shutdown(
    site: Site, sqs: SqsServer
) -> None:
    # Longer than other children have: the worker is not killed before it hands its messages back.
    with site.server(CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT=6) as server:
        wait_started(site, 600, count=2)
        server.signal(signal.SIGTERM)
        wait_until(lambda: 'SIGTERM: stopping' in server.log, 'the first signal is taken')
        server.signal(signal.SIGTERM)
        server.wait_ended(timeout=60)
    assert (sqs.visible(site.queue('slow')), sqs.in_flight(site.queue('slow'))) == (2, 0)


def test_a_child_that_dies_takes_the_rest_down(site: Site) -> None:
    with site.server() as server:
        pids = list(server.processes())
        os.kill(server.pid_of('celery'), signal.SIGKILL)
        assert server.wait_ended() == 1
        (line,) = (line for line in server.log.splitlines() if 'stopping the rest' in line)
        assert 'worker was killed by SIGKILL: stopping the rest; unless' in line
        assert_all_gone(pids)


def test_nothing_outlives_a_killed_supervisor(site: Site) -> None:
    with site.server() as server:
        pids = list(server.processes())
        server.signal(signal.SIGKILL)
        server.wait_ended()
        assert_all_gone(pids)


def test_as_in_a_container_it_needs_no_file_of_its_own_and_obeys_sigterm(
    site: Site, sqs: SqsServer, tmp_path: Path
) -> None:
    folder, here = tmp_path / 'metrics', f'http://127.0.0.1:{sqs.port}'
    variables = {
        # As prometheus_client's own documentation has it.
        'PROMETHEUS_MULTIPROC_DIR': '',
        'prometheus_multiproc_dir': folder,
        # As boto3's has it.
        'SQS_ENDPOINT_URL': '',
        'AWS_ENDPOINT_URL': here,
        'AWS_ACCESS_KEY_ID': 'test',
        'AWS_SECRET_ACCESS_KEY': 'test',
    }

    def wrap(command: list[str]) -> list[str]:
        return as_process_1(with_read_only(ROOT, command))

    with site.server(wrap=wrap, **variables) as server:
        (supervisor,) = (pid for pid, line in server.processes().items() if is_server(line))
        (result,) = wait_started(site, 2)
        os.kill(supervisor, signal.SIGTERM)
        assert result.get(timeout=30) == 2
        assert server.wait_ended() == 0
        assert f'the queues are on {here}\n' in server.log
        assert 'Read-only' not in server.log
    assert list(folder.glob('*.db'))


def test_a_signal_ends_a_start_that_waits_for_sqs(site: Site) -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        silent.settimeout(30)
        url = f'http://test:test@127.0.0.1:{silent.getsockname()[1]}'
        with site.server(wait=False, SQS_ENDPOINT_URL=url) as server:
            asking, _ = silent.accept()
            with asking:
                server.signal(signal.SIGTERM)
                # Unanswered, requests go on for a minute.
                assert server.wait_ended(timeout=20) == 0
            assert 'SIGTERM: stopping' in server.log
            assert 'Traceback' not in server.log


def is_server(command_line: str) -> bool:
    return 'server.py' in command_line and 'unshare' not in command_line


def copied(folder: Path, path: Path, old: str, new: str) -> Path:
    """Return a copy of the code in which ``old`` is ``new`` in one file."""
    copy = folder / 'copy'
    for name in ('app', 'be_queue', 'examples'):
        shutil.copytree(ROOT / name, copy / name)
    text = (copy / path).read_text()
    assert old in text
    (copy / path).write_text(text.replace(old, new))
    return copy


def ran(
    arguments: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


STRAY = """return x + y


@shared_task(name='stray')
def stray() -> None: ...
"""


class TestRefusesToStart:
    """One line that says why, and a status that is not zero."""

    def refused(self, site: Site, **variables: Any) -> str:
        # Also for environments that would have JSON.
        with site.server(wait=False, LOG_FORMAT='console', **variables) as server:
            assert server.wait_ended(timeout=60) == 1
            lines = [line for line in server.log.splitlines() if line]
            assert len(lines) == 1, server.log
            assert lines[0].startswith('cannot start: ')
            assert not server.processes()
            return lines[0]

    def test_when_the_metrics_directory_cannot_be_written(self, site: Site) -> None:
        line = self.refused(site, PROMETHEUS_MULTIPROC_DIR='/proc/metrics')
        assert 'cannot write to the metrics directory /proc/metrics' in line

    def test_when_local_results_cannot_be_kept_beside_the_code(self, site: Site) -> None:
        alone = {name: '' for name in site.environment if name.startswith('RESULT_DB_')}
        line = self.refused(site, wrap=lambda command: with_read_only(ROOT, command), **alone)
        assert f'cannot keep local results in {ROOT}/var: ' in line
        assert 'or set RESULT_DB_HOST' in line

    def test_when_the_broker_is_unreachable(self, site: Site) -> None:
        url = f'http://test:secret@127.0.0.1:{free_port()}'
        line = self.refused(site, SQS_ENDPOINT_URL=url)
        assert 'cannot reach the broker' in line
        assert 'check SQS_ENDPOINT_URL' in line
        assert 'secret' not in line

    @pytest.mark.parametrize(
        ('variable', 'value'),
        [('ENV', 'a b'), ('CELERY_TASK_ACKS_LATE', 'maybe')],
    )
    def test_when_a_setting_is_bad(self, site: Site, variable: str, value: str) -> None:
        assert f"{variable}='{value}'" in self.refused(site, **{variable: value})

    @pytest.mark.parametrize(
        ('flags', 'variables', 'fault'),
        [
            (['-B'], {}, '-B: beat would close files'),
            (['-P', 'solo'], {}, '-P: must be prefork'),
            ([], {'CELERY_IMPORTS': ('tests.support.rate_limited',)}, 'task tests.rate_limited: '),
            ([], {'CELERY_TASK_DEFAULT_RATE_LIMIT': '6/m'}, "CELERY_TASK_DEFAULT_RATE_LIMIT='6/m'"),
        ],
    )
    def test_when_celery_is_asked_for_what_there_is_not(
        self, site: Site, flags: list[str], variables: dict[str, Any], fault: str
    ) -> None:
        with site.worker(*flags, wait=False, **variables) as worker:
            assert worker.wait_ended(timeout=60) == 1
            (line,) = worker.log.splitlines()
            assert line.startswith(f'cannot start: {fault}')

    def test_when_no_queue_carries_a_task(self, site: Site, tmp_path: Path) -> None:
        copy = copied(tmp_path, Path('app/tasks/tasks.py'), 'return x + y\n', STRAY)
        ended = ran(PROGRAMS['celery'], copy, site.environment)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert "cannot start: task 'stray' is registered, but no queue carries it" in line


PROGRAMS = {
    'server': ['app/server.py'],
    'celery': ['-m', 'celery', '-A', 'app.worker', 'worker'],
    'purge': ['-m', 'celery', '-A', 'app.worker', 'purge', '-f'],
    'monitor': ['-m', 'app.monitor'],
    'web': ['-m', 'gunicorn', 'app.web:create_app()', '--bind=127.0.0.1:0', '--log-level=critical',
            '--no-control-socket'],
    'client': ['-m', 'examples.client'],
}  # fmt: skip
SAME_QUEUE = ("'python-backend-worker-template-retry-demo'", "'python-backend-worker-template-add'")


@pytest.fixture(scope='module')
def same_queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('same-queue')
    copy = copied(folder, Path('app/config/queues.py'), *SAME_QUEUE)
    client = copy / 'examples' / 'client' / '__main__.py'
    client.write_text(client.read_text().replace(*SAME_QUEUE))
    return copy


@pytest.mark.parametrize(
    ('name', 'fault'),
    [*((name, 'setting') for name in PROGRAMS), ('server', 'mapping'), ('client', 'mapping')],
)
def test_every_program_says_in_one_line_what_is_wrong(
    site: Site, same_queue: Path, tmp_path: Path, name: str, fault: str
) -> None:
    folder, env, words = {
        'mapping': (same_queue, 'local', "'python-backend-worker-template-add' is taken by Queue("),
        'setting': (ROOT, 'a b', "='a b'"),
    }[fault]
    variables = {'ENV': env, 'LOG_FORMAT': 'console', 'PROMETHEUS_MULTIPROC_DIR': str(tmp_path)}
    ended = ran(PROGRAMS[name], folder, site.environment | variables)
    assert ended.returncode != 0
    (line,) = (line for line in ended.stderr.splitlines() if words in line)
    if name != 'client':
        assert line.startswith('cannot start: ')
    others = [each for each in ended.stderr.splitlines() if each != line]
    # Gunicorn adds that it ends.
    assert others == [] or (name == 'web' and others == ['App failed to load.'])


class TestEmbeddedServer:
    """Locally the server brings its own SQS and keeps results in a file."""

    def test_needs_nothing_from_outside_nor_of_linux_and_listens_on_loopback_only(
        self, tmp_path: Path
    ) -> None:
        macos = {'PYTHONPATH': ROOT / 'tests' / 'support' / 'not_linux'}
        port = free_port()
        site = Site(tmp_path, f'http://test:test@127.0.0.1:{port}', {})
        # MiniStack's MQTT listener, were it on, would not fail for a port that is taken.
        mqtt = {'IOT_MTLS_PORT': free_port()}
        with site.server(SQS_ENDPOINT_URL=f'embedded:{port}', **macos, **mqtt) as server:
            assert 'WARNING' not in server.log
            pids = list(server.processes())
            listeners = listening_addresses(server.process.pid, *pids)
            assert port in {listener.port for listener in listeners}
            assert {listener.ip for listener in listeners} == {'127.0.0.1'}
            site.producer().send_task('add', (1, 2))
            wait_until(
                lambda: server.metric('worker_tasks_count_total', state='SUCCESS') == 1,
                'the task has run',
            )
            server.signal(signal.SIGTERM)
            assert server.wait_ended() == 0
            assert 'Traceback' not in server.log
            assert_all_gone(pids)

    def test_says_so_when_its_port_is_taken(self, site: Site) -> None:
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            with site.server(wait=False, SQS_ENDPOINT_URL=f'embedded:{port}') as server:
                assert server.wait_ended() == 1
                assert f'port {port}, for the embedded SQS server, is taken' in server.log
