"""The log of the whole tree of processes, as JSON."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from celery.exceptions import TimeLimitExceeded

from tests.support import app_tasks
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.sqs import SqsServer
from tests.support.tree import children
from tests.support.waiting import wait_until
from tests.support.worker import Server, Site

#: The server trusts who comes from its own machine.
PASSWORD = 'correct-horse-battery'

Lines = list[dict[str, Any]]


class Logging:
    """A worker that has run a task of each kind, and what it said."""

    def __init__(self, site: Site, server: Server) -> None:
        self._server = server
        self._producer = site.producer()
        self.celery_queue = f'{site.username}-local-celery'
        self.ids: dict[str, str] = {}

    def run(self, name: str, *args: object, **options: object) -> None:
        """Send a task and wait for its end, well or badly."""
        result = self._producer.send_task(name, args, **options)
        self.ids[name] = result.id
        result.get(timeout=60, propagate=False)
        wait_until(lambda: result.id in self._server.log, 'the log has it')

    def run_here(self, name: str, *args: object, **options: object) -> None:
        """Run a task of the tests' own."""
        self.run(name, *args, queue=self.celery_queue, **options)

    @property
    def lines(self) -> Lines:
        return [json.loads(line) for line in self._server.log.splitlines()]

    def about(self, name: str) -> Lines:
        """Return the lines about a task."""
        return [line for line in self.lines if line.get('task_id') == self.ids[name]]

    def said(self, *words: str) -> dict[str, Any]:
        """Return the one line whose message has all these words."""
        (line,) = (each for each in self.lines if all(word in each['message'] for word in words))
        return line


@pytest.fixture(scope='module')
def ended(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[tuple[Logging, Server]]:
    """A worker that has run its tasks and has been stopped."""
    site = Site(tmp_path_factory.mktemp('logs'), sqs.url, postgres.environment)
    variables = {
        'LOG_FORMAT': 'json',
        'RELEASE': '1.2.3',
        'RESULT_DB_PASS': PASSWORD,
        # Nobody listens there: traces have ids all the same.
        'JAEGER_AGENT_HOST': '127.0.0.1',
        'JAEGER_AGENT_PORT': free_port(),
        **app_tasks.IMPORTS,
    }
    with site.server(**variables) as server:
        logging = Logging(site, server)
        logging.run_here(app_tasks.SAYS, 'hello')
        logging.run('add', 1, 'one')
        logging.run('retry_demo', 1)
        logging.run_here(app_tasks.OUTLASTS_SOFT_LIMIT, soft_time_limit=0.5, time_limit=1)
        (web,) = children(server.pid_of('gunicorn'))
        os.kill(web, signal.SIGKILL)
        wait_until(lambda: 'SIGKILL' in server.log, 'the web server says so')
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        yield logging, server


@pytest.fixture
def log(ended: tuple[Logging, Server]) -> Logging:
    return ended[0]


def test_every_process_writes_json_and_nothing_else(log: Logging) -> None:
    lines = log.lines
    assert {line['process'].partition('-')[0] for line in lines} == {
        'server', 'web', 'worker', 'ForkPoolWorker', 'monitor',
    }  # fmt: skip
    assert {line['env'] for line in lines} == {'local'}
    assert {line['release'] for line in lines} == {'1.2.3'}
    for line in lines:
        assert line['timestamp'].endswith('Z')
        assert line['level'] in ('INFO', 'WARNING', 'ERROR')
        assert line['pid'] > 0


def test_no_line_comes_twice(log: Logging) -> None:
    said = Counter((line['pid'], line['timestamp'], line['message']) for line in log.lines)
    assert [line for line, times in said.items() if times > 1] == []


def test_each_line_inside_a_task_says_which_task(log: Logging) -> None:
    inside = [line for line in log.about(app_tasks.SAYS) if line.get('action') != 'received']
    assert [line['logger'] for line in inside] == [
        'tests', 'tests.of_celery', 'urllib3.connectionpool', 'py.warnings', 'stdout', 'tests',
        'celery.app.trace',
    ]  # fmt: skip
    for line in inside:
        assert line['task_name'] == app_tasks.SAYS
        assert line['queue'] == log.celery_queue
        assert line['attempt'] == 1
        assert int(line['trace_id'], 16)
    assert len({line['trace_id'] for line in inside}) == 1


def test_a_task_that_succeeds_has_one_line_when_it_comes_and_one_when_it_is_over(
    log: Logging,
) -> None:
    received, *_, over = log.about(app_tasks.SAYS)
    assert (received['action'], received['process']) == ('received', 'worker')
    assert over['action'] == 'succeeded'
    assert over['runtime_seconds'] > 0
    assert f'[{log.ids[app_tasks.SAYS]}] succeeded in' in over['message']


def test_a_failure_is_one_line_with_its_traceback(log: Logging) -> None:
    received, failed = log.about('add')
    assert (received['action'], failed['action'], failed['level']) == (
        'received',
        'failed',
        'ERROR',
    )
    assert failed['exception'] == 'TypeError'
    assert failed['traceback'].startswith('Traceback')
    assert (failed['attempt'], failed['max_attempts']) == (1, 6)


def test_a_retry_is_one_line_with_the_number_of_its_attempt(log: Logging) -> None:
    lines = log.about('retry_demo')
    assert [line['action'] for line in lines if line['process'] == 'worker'] == ['received'] * 2
    life = [(line['action'], line['attempt']) for line in lines if line['process'] != 'worker']
    assert life == [('retried', 1), ('succeeded', 2)]


def test_what_the_consuming_process_says_of_a_task_names_it(log: Logging) -> None:
    lines = log.about(app_tasks.OUTLASTS_SOFT_LIMIT)
    said = [line for line in lines if line['process'] == 'worker']
    assert [line['message'].partition(' (')[0] for line in said[1:]] == [
        'Soft time limit',
        f'Task handler raised error: {TimeLimitExceeded.__name__}(1)',
        'Hard time limit',
    ]
    assert {line['queue'] for line in said[1:]} == {log.celery_queue}


def test_no_secret_is_in_the_log(ended: tuple[Logging, Server]) -> None:
    log, server = ended
    assert log.said('own hello')['given'] == '***'
    assert log.said('printed hello')['message'] == 'printed hello ***'
    assert log.said('library hello')['message'] == 'library hello: ***'
    assert log.said('failed hello')['traceback'].endswith('ValueError: ***')
    assert PASSWORD not in server.log


def test_what_keeps_it_from_starting_is_json_too(site: Site) -> None:
    for variables in ({'SERVER_PORT': 'high'}, {'PROMETHEUS_MULTIPROC_DIR': '/proc/metrics'}):
        with site.server(wait=False, LOG_FORMAT='json', **variables) as server:
            assert server.wait_ended() == 1
            (line,) = server.log.splitlines()
            said = json.loads(line)
            assert said['level'] == 'CRITICAL'
            assert said['message'].startswith('cannot start: ')
            assert f'{next(iter(variables))}' in said['message']
