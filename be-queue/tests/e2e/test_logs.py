"""The log of the whole tree of processes, as JSON."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.processes import children
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from tests.support import app_tasks
from tests.support.worker import Server, Site

#: The server trusts all logins from its own machine.
PASSWORD = 'correct-horse-battery'


class Log:
    """The log of a server that has run a task of each kind."""

    def __init__(self, site: Site, server: Server) -> None:
        self.celery_queue = f'{site.username}-local-celery'
        (web,) = children(server.pid_of('gunicorn'))
        os.kill(web, signal.SIGKILL)
        send = site.producer().send_task
        limits = {'soft_time_limit': 1, 'time_limit': 2}
        results = {
            app_tasks.SAYS: send(app_tasks.SAYS, ('hello',)),
            'add': send('add', (1, 'one')),
            'retry_demo': send('retry_demo', (1,)),
            app_tasks.OUTLASTS_SOFT_LIMIT: send(app_tasks.OUTLASTS_SOFT_LIMIT, **limits),
        }
        for result in results.values():
            result.get(timeout=60, propagate=False)
        wait_until(lambda: 'SIGKILL' in server.log, 'the web server says so')
        server.signal(signal.SIGTERM)
        assert server.wait_ended() == 0
        self.ids = {name: result.id for name, result in results.items()}
        self.text = server.log
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in self.text.splitlines()]

    def about(self, name: str) -> list[dict[str, Any]]:
        """Return the lines about a task."""
        return [line for line in self.lines if line.get('task_id') == self.ids[name]]

    def said(self, words: str) -> dict[str, Any]:
        """Return the one line whose message has these words."""
        (line,) = (each for each in self.lines if words in each['message'])
        return line


@pytest.fixture(scope='module')
def log(
    tmp_path_factory: pytest.TempPathFactory, sqs: SqsServer, postgres: PostgresServer
) -> Iterator[Log]:
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
        yield Log(site, server)


def test_every_process_writes_json_and_nothing_else_and_no_line_twice(log: Log) -> None:
    assert {line['process'].partition('-')[0] for line in log.lines} == {
        'server', 'web', 'worker', 'ForkPoolWorker', 'monitor',
    }  # fmt: skip
    assert {line['env'] for line in log.lines} == {'local'}
    assert {line['release'] for line in log.lines} == {'1.2.3'}
    for line in log.lines:
        assert line['timestamp'].endswith('Z')
        assert line['level'] in ('INFO', 'WARNING', 'ERROR')
        assert line['pid'] > 0
    said = Counter((line['pid'], line['timestamp'], line['message']) for line in log.lines)
    assert [line for line, times in said.items() if times > 1] == []


def test_a_task_has_a_line_when_it_comes_one_when_it_is_over_and_those_within_say_which(
    log: Log,
) -> None:
    received, *within = log.about(app_tasks.SAYS)
    assert (received['action'], received['process']) == ('received', 'worker')
    assert [line['logger'] for line in within] == [
        'tests', 'tests.of_celery', 'urllib3.connectionpool', 'py.warnings', 'stdout', 'tests',
        'celery.app.trace',
    ]  # fmt: skip
    for line in within:
        assert line['task_name'] == app_tasks.SAYS
        assert line['queue'] == log.celery_queue
        assert line['attempt'] == 1
        assert int(line['trace_id'], 16)
    assert len({line['trace_id'] for line in within}) == 1
    assert within[-1]['action'] == 'succeeded'
    assert within[-1]['runtime_seconds'] > 0
    assert f'[{log.ids[app_tasks.SAYS]}] succeeded in' in within[-1]['message']


def test_a_failure_is_one_line_with_its_traceback_and_a_retry_one_with_its_attempt(
    log: Log,
) -> None:
    received, failed = log.about('add')
    assert received['action'] == 'received'
    assert (failed['action'], failed['level']) == ('failed', 'ERROR')
    assert failed['exception'] == 'TypeError'
    assert failed['traceback'].startswith('Traceback')
    assert (failed['attempt'], failed['max_attempts']) == (1, 6)
    lines = log.about('retry_demo')
    assert [line['action'] for line in lines if line['process'] == 'worker'] == ['received'] * 2
    life = [(line['action'], line['attempt']) for line in lines if line['process'] != 'worker']
    # The second process may be done before the first has logged that it sent the retry.
    assert sorted(life, key=lambda each: each[1]) == [('retried', 1), ('succeeded', 2)]


def test_lines_of_the_consuming_process_about_a_task_name_it(log: Log) -> None:
    received, *said = log.about(app_tasks.OUTLASTS_SOFT_LIMIT)
    assert received['action'] == 'received'
    words = [line['message'].partition(' (')[0] for line in said]
    assert words == ['Soft time limit', 'Hard time limit']
    assert {(line['process'], line['queue']) for line in said} == {('worker', log.celery_queue)}


def test_no_secret_is_in_the_log(log: Log) -> None:
    assert log.said('own hello')['given'] == '***'
    assert log.said('printed hello')['message'] == 'printed hello ***'
    assert log.said('library hello')['message'] == 'library hello: ***'
    assert log.said('failed hello')['traceback'].endswith('ValueError: ***')
    assert PASSWORD not in log.text


def test_a_setting_that_keeps_it_from_starting_is_json_too(site: Site) -> None:
    with site.server(wait=False, LOG_FORMAT='json', SERVER_PORT='high') as server:
        assert server.wait_ended() == 1
        (line,) = map(json.loads, server.log.splitlines())
    assert line['level'] == 'CRITICAL'
    assert line['message'].startswith('cannot start: SERVER_PORT=')
