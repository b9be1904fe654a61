"""The commands of docs/runbook.md, on a server that `make run` has started."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from be_queue.cli import main
from be_queue.naming import dead_letter_name
from be_queue.testing.ports import free_port
from be_queue.testing.sqs import client_of
from be_queue.testing.waiting import wait_until
from template.conftest import ROOT, Checkout

PAGE = (ROOT / 'docs' / 'runbook.md').read_text()
SERVER = 'http://127.0.0.1:8080'
QUEUE = 'python-backend-worker-template-add'


def blocks(language: str) -> list[str]:
    return re.findall(rf'^```{language}\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)


class Operator:
    """Types commands."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._port, sqs_port = free_port(), free_port()
        self._sqs = client_of(sqs_port)
        user = f'u{uuid.uuid4().hex[:8]}'
        self.queue = f'{user}-local-{QUEUE}'
        self.environment = {
            'USERNAME': user,
            'SERVER_PORT': str(self._port),
            'SQS_ENDPOINT_URL': f'embedded:{sqs_port}',
            'PATH': f'{checkout.folder}/.venv/bin:{checkout.variables["PATH"]}',
        }
        self.typed: set[str] = set()

    def types(self, command: str, task_id: str = '') -> str:
        """Type a command of the page, answer yes, and return what it prints."""
        self.typed.add(command)
        command = command.replace(SERVER, f'http://127.0.0.1:{self._port}')
        command = re.sub(r'\bQUEUE\b', QUEUE, re.sub(r'\bID\b', task_id, command))
        return self.runs(command if '<' in command else f'{command} < <(echo y)')

    def runs(self, command: str) -> str:
        ended = self._checkout.run('bash', '-c', command, **self.environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def puts(self, task_id: str, queue: str, args: str = '[1, 2]', **params: int) -> None:
        """Put a message into a queue."""
        envelope = {
            'body': f'[{args}, {{}}, {{}}]',
            'headers': {'task': 'add', 'id': task_id, 'argsrepr': args},
            'content-type': 'application/json',
            'content-encoding': 'utf-8',
            'properties': {'delivery_info': {}},
        }
        self._sqs.send_message(
            QueueUrl=self._url(queue), MessageBody=json.dumps(envelope), **params
        )

    def count(self, queue: str) -> int:
        """Return how many messages a queue has, delayed ones among them."""
        names = [f'ApproximateNumberOfMessages{name}' for name in ('', 'Delayed')]
        answer = self._sqs.get_queue_attributes(QueueUrl=self._url(queue), AttributeNames=names)
        return sum(map(int, answer['Attributes'].values()))

    def wait_for(self, state: str, *task_ids: str) -> None:
        wait_until(
            lambda: {self._state(task_id) for task_id in task_ids} == {state},
            f'{task_ids} are {state}',
            timeout=60,
        )

    def _state(self, task_id: str) -> str | None:
        with closing(sqlite3.connect(self._checkout.folder / 'var' / 'results.sqlite')) as results:
            query = 'SELECT status FROM celery_taskmeta WHERE task_id = ?'
            return next((status for (status,) in results.execute(query, (task_id,))), None)

    def _url(self, queue: str) -> str:
        url: str = self._sqs.get_queue_url(QueueName=queue)['QueueUrl']
        return url

    def lists(self, query: str) -> list[str]:
        """Write the ids that a query of the page finds to ids.txt."""
        with closing(sqlite3.connect(self._checkout.folder / 'var' / 'results.sqlite')) as results:
            found = [task_id for (task_id,) in results.execute(query)]
        (self._checkout.folder / 'ids.txt').write_text(''.join(f'{one}\n' for one in found))
        return found


@contextmanager
def operating(checkout: Checkout) -> Iterator[Operator]:
    operator = Operator(checkout)
    with checkout.running('make', 'run', **operator.environment) as log:
        wait_until(lambda: 'ready: dashboard' in log.read_text(), 'it is ready', timeout=60)
        yield operator


# Each command is a program that starts.
@pytest.mark.timeout(300)
def test_every_command_of_the_runbook_does_what_the_page_says(checkout: Checkout) -> None:
    checkout.install()
    with operating(checkout) as operator:
        assert operator.queue in operator.types('be-queue status')
        assert 'SQS: ok' in operator.types('be-queue doctor')
        assert operator.queue in operator.types(f'curl {SERVER}/readyz')
        assert operator.queue in operator.types(f'curl {SERVER}/healthz')

        queue, dead = operator.queue, dead_letter_name(operator.queue)
        letters = 'one', 'two', 'three'
        for task_id in letters:
            operator.puts(task_id, dead)
        shown = operator.types('be-queue peek QUEUE')
        assert all(task_id in shown for task_id in letters)
        operator.types('be-queue redrive QUEUE ID', 'two')
        operator.wait_for('SUCCESS', 'two')
        assert operator.count(dead) == 2
        operator.types('be-queue redrive QUEUE')
        operator.wait_for('SUCCESS', *letters)

        failed = 'failed', 'failed-too'
        for task_id in failed:
            operator.puts(task_id, queue, args='[null, 1]')
        operator.wait_for('FAILURE', *failed)
        assert 'FAILURE' in operator.types('be-queue task ID', 'failed')
        again = operator.types('be-queue retry ID', 'failed').strip()
        operator.wait_for('FAILURE', again)
        (query,) = blocks('sql')
        query = query.replace('charge', 'add').replace('2026-01-02', '2000-01-01')
        assert sorted(operator.lists(query)) == sorted([*failed, again])
        retried = operator.types('xargs -n 1 be-queue retry < ids.txt').split()
        assert len(retried) == 3
        operator.wait_for('FAILURE', *retried)

        operator.puts('waits', queue, DelaySeconds=600)
        operator.puts('dead', dead)
        operator.types('be-queue purge QUEUE --dead-letters')
        assert (operator.count(queue), operator.count(dead)) == (1, 0)
        operator.types('be-queue purge QUEUE')
        assert operator.count(queue) == 0
        operator.types('be-queue migrate')
    assert operator.typed == {line for block in blocks('sh') for line in block.splitlines()}


def test_the_alerts_name_commands_that_exist() -> None:
    named = re.findall(r'be-queue ([a-z]+)', PAGE.partition('<!-- alerts -->')[2])
    assert named
    assert set(named) <= set(main.commands)
