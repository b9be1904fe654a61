"""The monitor: from the platform queue to the table of tasks."""

from __future__ import annotations

import base64
import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from psycopg.rows import dict_row
from sqlalchemy import NullPool, select

from be_queue import Config, Queue, Queues
from be_queue.testing.postgres import PostgresServer
from be_queue.testing.proxy import Proxy
from be_queue.testing.sqs import SqsServer
from be_queue.testing.waiting import wait_until
from be_queue.worker.monitor.table import TASKS, TaskTable, open_engine
from tests.support.process import Program, running

MONITOR = ('-m', 'app.monitor')
OUTAGE = 'the result database is '


class Scene:
    """A producer and its platform queue, with names that nobody else uses."""

    def __init__(self, sqs: SqsServer, postgres: PostgresServer, folder: Path) -> None:
        self.sqs, self.postgres, self.folder = sqs, postgres, folder
        self.username = f'm{uuid.uuid4().hex[:10]}'
        self.platform = f'{self.username}-local-platform.fifo'
        self.environment = {
            'ENV': 'local',
            'USERNAME': self.username,
            'SQS_ENDPOINT_URL': sqs.url,
            **postgres.environment,
        }
        queues = Queues(Queue(queue_name=name, task=name) for name in ('add', 'flaky'))
        queues.build_celery('local', username=self.username)
        self.producer = Celery(set_as_current=False)
        self.producer.config_from_object(Config(queues, SQS_ENDPOINT_URL=sqs.url))
        # Apps with one broker share kombu's pool, and with it each other's bindings.
        self.connection = self.producer.connection_for_write()

    def monitor(self, **variables: str) -> AbstractContextManager[Program]:
        environment = self.environment | variables
        return running(MONITOR, environment, self.folder / f'{uuid.uuid4().hex}.log')

    def send(self, name: str = 'add', *args: Any, **options: Any) -> str:
        result = self.producer.send_task(name, args, connection=self.connection, **options)
        task_id: str = result.id
        return task_id

    def send_raw(self, body: str) -> None:
        client = self.sqs.client()
        client.send_message(
            QueueUrl=client.get_queue_url(QueueName=self.platform)['QueueUrl'],
            MessageBody=body,
            MessageGroupId='default',
            MessageDeduplicationId=uuid.uuid4().hex,
        )

    def rows(self, *task_ids: str) -> list[dict[str, Any]]:
        with self.postgres.connect() as connection:
            if connection.execute("SELECT to_regclass('tasks')").fetchone() == (None,):
                return []
            cursor = connection.cursor(row_factory=dict_row)
            query = 'SELECT * FROM tasks WHERE task_id = ANY(%s)'
            return cursor.execute(query, [list(task_ids)]).fetchall()

    def wait_for_row(self, task_id: str) -> dict[str, Any]:
        return wait_until(lambda: self.rows(task_id), f'task {task_id} has a row')[0]

    @contextmanager
    def without_database(self) -> Iterator[None]:
        self.postgres.proxy.cut()
        try:
            yield
        finally:
            self.postgres.proxy.restore()

    def wait_for_empty_queue(self) -> None:
        wait_until(
            lambda: self.sqs.visible(self.platform) == self.sqs.in_flight(self.platform) == 0,
            'every message is deleted',
        )


@pytest.fixture(scope='module')
def postgres(postgres: PostgresServer) -> PostgresServer:
    """The database by a way of our own, which can be cut."""
    return postgres.with_a_proxy_of_its_own()


@pytest.fixture
def scene(sqs: SqsServer, postgres: PostgresServer, tmp_path: Path) -> Scene:
    return Scene(sqs, postgres, tmp_path)


@pytest.fixture(scope='module')
def shared(
    sqs: SqsServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scene, Program]]:
    """A monitor that several tests share."""
    scene = Scene(sqs, postgres, tmp_path_factory.mktemp('monitor'))
    with scene.monitor() as monitor:
        yield scene, monitor


def test_a_task_becomes_a_row(shared: tuple[Scene, Program]) -> None:
    scene, _ = shared
    before = datetime.now(timezone.utc)
    eta = before.replace(microsecond=0) + timedelta(hours=2)
    given = {'eta': eta, 'retries': 2, 'parent_id': 'the parent', 'group_id': 'the group'}
    task_id = scene.send('add', 1, 'x' * 5000, expires=3600, **given)
    row = scene.wait_for_row(task_id)
    queue = f'{scene.username}-local-add'
    expected = {'name': 'add', 'queue': queue, 'kwargs': '{}', 'root_id': task_id}
    assert (expected | given).items() <= row.items()
    assert row['args'].startswith("(1, 'xxx")
    assert len(row['args']) <= 1024
    assert before < row['expires'] < before + timedelta(hours=2)
    assert '@' in row['origin']
    # SQS tells whole milliseconds.
    assert before - timedelta(milliseconds=1) <= row['sent_at'] <= row['seen_at']
    scene.wait_for_empty_queue()


@pytest.mark.parametrize('database', ['postgresql', 'sqlite'])
def test_a_retry_updates_the_row_and_an_older_message_does_not(
    postgres: PostgresServer, tmp_path: Path, database: str
) -> None:
    urls = {'postgresql': postgres.backend_url, 'sqlite': f'db+sqlite:///{tmp_path}/db'}
    engine = open_engine(urls[database], {'poolclass': NullPool})
    table, task_id = TaskTable(engine), uuid.uuid4().hex
    first = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def message(retries: int, minutes: int) -> dict[str, Any]:
        """Return a row of which all values are of this attempt."""
        at = first + timedelta(minutes=minutes)
        row = {'task_id': task_id, 'name': f'attempt {retries}', 'retries': retries}
        return dict.fromkeys(TASKS.c.keys()) | row | {'eta': at, 'sent_at': at, 'seen_at': at}

    def row() -> dict[str, Any]:
        with engine.connect() as connection:
            found = connection.execute(select(TASKS).where(TASKS.c.task_id == task_id))
            return dict(found.mappings().one())

    messages = [message(0, 0), message(2, 20), message(1, 10)]
    table.save(messages[:1])
    assert row() == messages[0]
    for twice in (messages[1:], messages):
        table.save(twice)
        assert row() == messages[1] | {'sent_at': first, 'seen_at': messages[2]['seen_at']}


def test_what_is_not_a_task_is_rejected_and_reported(shared: tuple[Scene, Program]) -> None:
    scene, monitor = shared
    envelope = {'properties': {'delivery_info': {}}}
    broken = [
        'hello',
        json.dumps({'order': 5}),
        base64.b64encode(b'\xff\xfe').decode(),
        json.dumps(envelope | {'headers': {'task': 'add'}}),
        json.dumps(envelope | {'headers': {'task': 'add', 'id': 'x', 'retries': 'many'}}),
        json.dumps(envelope | {'headers': {'compression': 'unheard of'}, 'body': 'x'}),
    ]
    scene.wait_for_row(scene.send())
    for body in broken:
        scene.send_raw(body)
    # Text that a database refuses is replaced.
    task_id = uuid.uuid4().hex
    headers = {'id': task_id, 'task': 'nul\0 half \ud800 quote \' "'}
    scene.send_raw(json.dumps({'headers': headers, 'properties': {'delivery_info': {}}}))
    assert scene.wait_for_row(task_id)['name'] == 'nul\N{REPLACEMENT CHARACTER} half ? quote \' "'
    scene.wait_for_empty_queue()
    assert monitor.log.count('rejected a message that is not a task') == len(broken)
    assert "fault=header 'id': Field required" in monitor.log
    assert 'hello' in monitor.log
    assert 'Traceback' not in monitor.log


def test_an_unavailable_database_loses_nothing(shared: tuple[Scene, Program]) -> None:
    scene, monitor = shared
    scene.wait_for_row(scene.send())
    with scene.without_database():
        missed = [scene.send('add', n) for n in range(3)]
        wait_until(lambda: OUTAGE in monitor.log, 'it is noticed')
    wait_until(lambda: len(scene.rows(*missed)) == 3, 'the rows are there after all')
    scene.wait_for_empty_queue()
    wait_until(lambda: monitor.log.count(OUTAGE) == 2, 'it is noticed when it begins, and ends')
    assert f'{scene.postgres.user}:***@' in monitor.log
    assert f':{scene.postgres.password}@' not in monitor.log


def test_a_stop_without_the_database_hands_the_messages_back(shared: tuple[Scene, Program]) -> None:
    scene, monitor = shared
    before = monitor.log.count(OUTAGE)
    with scene.without_database():
        missed = scene.send()
        wait_until(lambda: monitor.log.count(OUTAGE) > before, 'it is noticed')
        # The longest poll of SQS takes 20 seconds.
        assert monitor.ends(signal.SIGINT) == 0
    assert 'Traceback' not in monitor.log
    with scene.monitor():
        scene.wait_for_row(missed)
        scene.wait_for_empty_queue()


def test_an_unavailable_broker_loses_nothing(scene: Scene) -> None:
    proxy = Proxy(('127.0.0.1', scene.sqs.port))
    url = f'http://test:test@127.0.0.1:{proxy.port}'
    # SQS may answer a receive that was cut off, and hides for so long what it answered.
    options = "{'visibility_timeout': 1}"
    with scene.monitor(SQS_ENDPOINT_URL=url, CELERY_BROKER_TRANSPORT_OPTIONS=options) as monitor:
        scene.wait_for_row(scene.send())
        scene.wait_for_empty_queue()
        proxy.cut()
        missed = scene.send()
        wait_until(lambda: 'the broker is ' in monitor.log, 'it is noticed')
        proxy.restore()
        scene.wait_for_row(missed)
        scene.wait_for_empty_queue()
        wait_until(lambda: monitor.log.count('the broker is ') == 2, 'its end is noticed')
        proxy.cut()
        assert monitor.ends(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ('variables', 'message'),
    [
        ({'PLATFORM_QUEUE_NAME': ''}, "PLATFORM_QUEUE_NAME='': the platform queue is switched off"),
        (
            {'CELERY_RESULT_BACKEND': 'redis://me:hunter2@127.0.0.1/0'},
            "result_backend='redis://me:***@127.0.0.1/0': the table of tasks needs db+postgresql",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_ends_it_with_one_line(
    scene: Scene, variables: dict[str, str], message: str
) -> None:
    with scene.monitor(**variables) as monitor:
        assert monitor.ends(timeout=60) == 1
        assert message in monitor.log
        assert len(monitor.log.splitlines()) == 1
        assert 'hunter2' not in monitor.log
