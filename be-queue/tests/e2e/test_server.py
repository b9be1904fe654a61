"""The process tree: how it starts, stops and falls."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.processes import alive
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import ending
from tests.support.extras import OPTIONAL, without
from tests.support.own_tasks import build
from tests.support.own_worker import own_worker
from tests.support.tree import AS_PROCESS_1, listening_addresses, read_only
from tests.support.worker import ROOT, Site

NOT_LINUX = Path(__file__).parents[1] / 'support' / 'not_linux'


def started(site: Site, seconds: float, count: int = 1) -> list:
    producer = site.producer()
    results = [producer.send_task('slow', (seconds,)) for _ in range(count)]
    wait_until(lambda: all(result.state == 'STARTED' for result in results), 'the tasks run')
    return results


def assert_all_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(map(alive, pids)), f'the processes {pids} are gone')


def test_from_the_queues_and_the_schedule_to_a_warm_stop(
    site: Site, sqs: SqsServer, tmp_path: Path
) -> None:
    slow, celery = site.queue('slow'), f'{site.username}-local-celery'
    names = 'python-backend-worker-template-slow, '
    marks, end = tmp_path / 'marks', tmp_path / 'end'
    often = repr({'often': {'task': 'slow', 'schedule': 0.5, 'args': (0,)}})
    variables = {
        'CONSUME_QUEUES': names,
        'QUEUE_DEPTH_INTERVAL': '0.2',
        'CELERY_BEAT_SCHEDULE': often,
    }
    with site.server(**ending.IMPORTS, **variables) as server:
        pids = list(server.processes())
        wait_until(
            lambda: json.loads(server.get('/readyz')[1])['pollers'].keys() == {slow, celery},
            'the pollers of both are shown',
        )
        assert json.loads(server.get('/healthz')[1])['pollers'].keys() == {slow, celery}
        wait_until(lambda: server.metric('poller_state', state='receiving') == 2, 'both receive')
        assert server.metric('poller_state') == 2  # one state each
        assert server.metric('build_info') == 1
        lines = [line for line in server.log.splitlines() if ' comes from queue ' in line]
        assert [slow in line for line in lines] == [True]

        succeeded = partial(server.metric, 'worker_tasks_count_total', state='SUCCESS')
        wait_until(lambda: succeeded(name='slow') >= 2, 'two scheduled tasks have run')
        producer = site.producer()
        producer.send_task('add', (1, 2))
        producer.send_task('slow', (0,), countdown=600)
        sqs.client().send_message(
            QueueUrl=sqs.client().get_queue_url(QueueName=f'err-{slow}')['QueueUrl'],
            MessageBody='x',
        )
        results = [producer.send_task(ending.BESIDE, (str(marks), str(end))) for _ in range(2)]
        for name, value, labels in (
            ('queue_messages', 2, {'queue': celery, 'state': 'in flight'}),
            ('queue_messages', 1, {'queue': slow, 'state': 'delayed'}),
            ('queue_dead_letters', 1, {'queue': slow}),
        ):
            wait_until(
                lambda n=name, v=value, ls=labels: server.metric(n, **ls) == v, f'{name} {labels}'
            )
        assert server.metric('queue_depth_errors_total') == 0
        wait_until(lambda: slow in server.get('/')[1], 'the page has the queue')
        assert site.queue('add') not in server.get('/')[1] + server.get('/metrics')[1]
        assert sqs.visible(site.queue('add')) == 1

        wait_until(lambda: marks.exists() and marks.read_text().count('\n') == 2, 'both run')
        server.signal(signal.SIGTERM)
        wait_until(
            lambda: server.health('/readyz')[1].get('worker') == 'the worker is stopping',
            'readiness says that the worker stops',
        )
        assert server.health('/readyz')[0] == 503
        assert server.health('/healthz')[0] == 200
        end.touch()
        assert server.wait_ended() == 0
        assert all(result.get(timeout=30) for result in results)
        assert (sqs.visible(celery), sqs.in_flight(celery)) == (0, 0)
        assert_all_gone(pids)


def test_a_plain_worker_leaves_the_platform_queue_alone(site: Site, sqs: SqsServer) -> None:
    name = f'{site.username}-local-platform.fifo'
    app = build(site.username, PLATFORM_QUEUE_NAME='platform.fifo', SQS_ENDPOINT_URL=sqs.url)
    # -X takes queues out of all those that Celery knows.
    with own_worker(site, '-X', 'another', PLATFORM_QUEUE_NAME='platform.fifo') as worker:
        for _ in range(5):
            app.send_task('tests.add', (1, 2), ignore_result=True)
        wait_until(lambda: worker.log.count(' succeeded in ') >= 5, 'each has run')
        wait_until(lambda: sqs.in_flight(f'{site.username}-local-tests-add') == 0, 'deleted')
        assert sqs.visible(name) == 5
        assert worker.log.count(' received') == 5


def test_it_starts_and_stops_on_macos(site: Site) -> None:
    with site.server(PYTHONPATH=NOT_LINUX) as server:
        pids = list(server.processes())
        assert site.producer().send_task('add', (1, 2)).get(timeout=30) == 3
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        assert_all_gone(pids)
        assert 'Traceback' not in server.log


def test_a_second_signal_leaves_tasks_the_time_of_celerys_soft_shutdown(
    site: Site, sqs: SqsServer
) -> None:
    # Longer than other children have: the worker is not killed before it hands its messages back.
    with site.server(CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT=6, PLATFORM_QUEUE_NAME='') as server:
        pids = list(server.processes())
        started(site, 600, count=2)
        server.signal(signal.SIGINT)
        wait_until(lambda: 'SIGINT: stopping' in server.log, 'the first signal is taken')
        server.signal(signal.SIGINT)
        server.wait_ended(timeout=60)
        assert_all_gone(pids)
    assert (sqs.visible(site.queue('slow')), sqs.in_flight(site.queue('slow'))) == (2, 0)


def test_without_it_tasks_are_ended_at_once(site: Site, sqs: SqsServer) -> None:
    with site.worker() as worker:
        started(site, 600, count=2)
        worker.signal(signal.SIGQUIT)
        worker.wait_ended(timeout=60)
    assert (sqs.visible(site.queue('slow')), sqs.in_flight(site.queue('slow'))) == (2, 0)


def test_as_in_a_container_it_needs_the_extra_worker_alone_no_file_of_its_own_and_obeys_sigterm(
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
        **without(*OPTIONAL),
    }
    with site.server(prefix=(*AS_PROCESS_1, *read_only(ROOT)), **variables) as server:
        (supervisor,) = (
            pid
            for pid, line in server.processes().items()
            if 'server.py' in line and 'unshare' not in line
        )
        assert site.producer().send_task('add', (1, 2)).get(timeout=30) == 3
        os.kill(supervisor, signal.SIGTERM)
        assert server.wait_ended() == 0
        assert f'the queues are on {here}\n' in server.log
        for fault in ('Read-only', 'not start', 'Traceback'):
            assert fault not in server.log
    assert list(folder.glob('*.db'))


def test_locally_it_needs_nothing_from_outside_and_nothing_outlives_a_killed_supervisor(
    tmp_path: Path,
) -> None:
    port = free_port()
    site = Site(tmp_path, f'http://test:test@127.0.0.1:{port}', {})
    # MiniStack's MQTT listener, were it on, would not fail for a port that is taken.
    mqtt = {'IOT_MTLS_PORT': free_port()}
    with site.server(SQS_ENDPOINT_URL=f'embedded:{port}', **mqtt) as server:
        assert 'WARNING' not in server.log
        pids = list(server.processes())
        listeners = listening_addresses(server.process.pid, *pids)
        assert port in {listener.port for listener in listeners}
        assert {listener.ip for listener in listeners} == {'127.0.0.1'}
        site.producer().send_task('add', (1, 2))
        succeeded = partial(server.metric, 'worker_tasks_count_total', state='SUCCESS')
        wait_until(lambda: succeeded() == 1, 'the task has run')
        server.signal(signal.SIGKILL)
        server.wait_ended()
        assert_all_gone(pids)


def test_a_signal_ends_a_start_that_waits_for_sqs(site: Site) -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        silent.settimeout(60)
        url = f'http://test:test@127.0.0.1:{silent.getsockname()[1]}'
        with site.server(wait=False, SQS_ENDPOINT_URL=url) as server:
            asking, _ = silent.accept()
            with asking:
                server.signal(signal.SIGTERM)
                # Unanswered, requests go on for a minute.
                assert server.wait_ended() == 0
            assert 'SIGTERM: stopping' in server.log
            assert 'Traceback' not in server.log


SERVER = ('app/server.py',)
CELERY = ('-m', 'celery', '-A', 'app.worker', 'worker')
WEB = ('-m', 'gunicorn', 'app.web:create_app()', '--bind=127.0.0.1:0', '--log-level=critical')
BAD_ENV = {'ENV': 'a b'}
STRAY = "return x + y\n\n\n@shared_task(name='stray')\ndef stray() -> None: ...\n"
ADD, RETRY = "'python-backend-worker-template-add'", "'python-backend-worker-template-retry-demo'"


class TestSaysInOneLineWhatIsWrong:
    """One line that says why, and a status that is not zero."""

    def line(self, site: Site, program: tuple[str, ...], folder: Path, **variables: Any) -> str:
        environment = site.environment | {
            'LOG_FORMAT': 'console',  # also for environments that would have JSON
            'PROMETHEUS_MULTIPROC_DIR': str(site.folder),
            'SERVER_PORT': str(free_port()),
            **variables,
        }
        ended = subprocess.run(
            [sys.executable, *program],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode != 0
        # Gunicorn adds that it ends.
        lines = [line for line in ended.stderr.splitlines() if line != 'App failed to load.']
        assert len(lines) == 1, ended.stderr
        return lines[0]

    @pytest.mark.parametrize(
        ('program', 'variables', 'fault'),
        [
            (SERVER, {'CONSUME_QUEUES': 'slow'}, "CONSUME_QUEUES='slow': no queue of the mapping"),
            (CELERY, BAD_ENV, "ENV='a b'"),
            ((*CELERY, '-B'), {}, '-B: beat would close files'),
            (('-m', 'app.monitor'), BAD_ENV, "ENV='a b'"),
            ((*WEB, '--no-control-socket'), BAD_ENV, "ENV='a b'"),
        ],
    )
    def test_of_a_setting(
        self, site: Site, program: tuple[str, ...], variables: dict[str, str], fault: str
    ) -> None:
        line = self.line(site, program, ROOT, **variables)
        assert line.startswith('cannot start: ')
        assert fault in line

    @pytest.mark.parametrize(
        ('program', 'change', 'fault'),
        [
            (SERVER, ('app/tasks/tasks.py', 'return x + y\n', STRAY), "task 'stray' is registered"),
            (SERVER, ('app/config/queues.py', RETRY, ADD), f'{ADD} is taken by Queue('),
        ],
    )
    def test_of_the_mapping(
        self,
        site: Site,
        tmp_path: Path,
        program: tuple[str, ...],
        change: tuple[str, str, str],
        fault: str,
    ) -> None:
        file, old, new = change
        for name in ('app', 'examples'):
            shutil.copytree(ROOT / name, tmp_path / name)
        text = (tmp_path / file).read_text()
        assert old in text
        (tmp_path / file).write_text(text.replace(old, new))
        assert fault in self.line(site, program, tmp_path)

    def test_of_a_scheduled_task_without_a_queue(self, site: Site) -> None:
        schedule = repr({'often': {'task': 'ad', 'schedule': 0.5}})
        line = self.line(site, SERVER, ROOT, CELERY_BEAT_SCHEDULE=schedule)
        assert "cannot start: task 'ad' has no queue in the mapping: did you mean 'add'?" in line

    def test_of_a_broker_that_is_unreachable(self, site: Site) -> None:
        url = f'http://test:secret@127.0.0.1:{free_port()}'
        line = self.line(site, SERVER, ROOT, SQS_ENDPOINT_URL=url)
        assert 'cannot reach the broker' in line
        assert 'check SQS_ENDPOINT_URL' in line
        assert 'secret' not in line

    def test_of_local_results_that_cannot_be_kept_beside_the_code(self, site: Site) -> None:
        alone = {name: '' for name in site.environment if name.startswith('RESULT_DB_')}
        with site.server(wait=False, prefix=read_only(ROOT), **alone) as server:
            assert server.wait_ended(timeout=60) == 1
            (line,) = server.log.splitlines()
        assert line.startswith(f'cannot start: cannot keep local results in {ROOT}/var: ')
        assert 'or set RESULT_DB_HOST' in line
