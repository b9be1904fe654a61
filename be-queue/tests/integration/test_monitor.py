"""The monitor: from the platform queue to the table of tasks."""

from __future__ import annotations

import base64
import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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
from be_queue.worker.history import engine_of, migrate, save
from be_queue.worker.history.tables import TASKS
from be_queue.worker.preflight import check_monitor
from tests.support.process import Program, running

MONITOR = ('-m', 'app.monitor')
OUTAGE = 'the result database is '


class Scene:
    """A producer and its platform queue, with names that nobody else uses."""

    def __init__(self, sqs: SqsServer, postgres: PostgresServer, folder: Path) -> None:
        self.sqs, self.postgres, self._folder = sqs, postgres, folder
        self.username = f'm{uuid.uuid4().hex[:10]}'
        self._platform = f'{self.username}-local-platform.fifo'
        queues = Queues(Queue(queue_name=name, task=name) for name in ('add', 'flaky'))
        queues.build_celery('local', username=self.username)
        self.producer = Celery(set_as_current=False)
        self.producer.config_from_object(Config(queues, SQS_ENDPOINT_URL=sqs.url))
        # Apps with one broker share kombu's pool, and with it each other's bindings.
        self._connection = self.producer.connection_for_write()

    @contextmanager
    def monitor(self, **variables: str) -> Iterator[Program]:
        """Run a monitor; it ends well, or SQS would hide what its last receive is answered."""
        own = {'ENV': 'local', 'USERNAME': self.username, 'SQS_ENDPOINT_URL': self.sqs.url}
        log = self._folder / f'{uuid.uuid4().hex}.log'
        with running(MONITOR, own | self.postgres.environment | variables, log) as monitor:
            yield monitor
            if monitor.process.poll() is None:
                monitor.ends(signal.SIGTERM, timeout=60)

    def send(self, name: str = 'add', *args: Any, **options: Any) -> str:
        return str(self.producer.send_task(name, args, connection=self._connection, **options).id)

    def send_raw(self, body: str) -> None:
        client = self.sqs.client()
        client.send_message(
            QueueUrl=client.get_queue_url(QueueName=self._platform)['QueueUrl'],
            MessageBody=body,
            MessageGroupId='default',
            MessageDeduplicationId=uuid.uuid4().hex,
        )

    def wait_for_rows(self, *task_ids: str) -> list[dict[str, Any]]:
        """Return the rows of these tasks, once all are there and every message is deleted."""

        def rows() -> list[dict[str, Any]] | None:
            with self.postgres.connect() as connection:
                if connection.execute("SELECT to_regclass('tasks')").fetchone() == (None,):
                    return None
                cursor = connection.cursor(row_factory=dict_row)
                query = 'SELECT * FROM tasks WHERE task_id = ANY(%s)'
                found = cursor.execute(query, [list(task_ids)]).fetchall()
                return found if len(found) == len(task_ids) else None

        def is_empty() -> bool:
            return self.sqs.visible(self._platform) == self.sqs.in_flight(self._platform) == 0

        found = wait_until(rows, f'tasks {task_ids} have rows')
        wait_until(is_empty, 'every message is deleted')
        return found


@pytest.fixture(scope='module')
def postgres(postgres: PostgresServer) -> PostgresServer:
    """The database by a way of our own, which can be cut."""
    return postgres.with_a_proxy_of_its_own()


@pytest.fixture(scope='module')
def scene(
    sqs: SqsServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Scene:
    return Scene(sqs, postgres, tmp_path_factory.mktemp('monitor'))


@pytest.fixture(scope='module')
def monitor(scene: Scene) -> Iterator[Program]:
    """A monitor that several tests share."""
    with scene.monitor() as monitor:
        yield monitor


@pytest.mark.usefixtures('monitor')
def test_a_task_becomes_a_row(scene: Scene) -> None:
    before = datetime.now(timezone.utc)
    eta = before.replace(microsecond=0) + timedelta(hours=2)
    given = {'eta': eta, 'retries': 2, 'parent_id': 'the parent', 'group_id': 'the group'}
    task_id = scene.send('add', 1, 'x' * 5000, expires=3600, **given)
    (row,) = scene.wait_for_rows(task_id)
    queue = f'{scene.username}-local-add'
    expected = {'name': 'add', 'queue': queue, 'kwargs': '{}', 'root_id': task_id}
    assert (expected | given).items() <= row.items()
    assert row['args'].startswith("(1, 'xxx")
    assert len(row['args']) <= 1024
    assert before < row['expires'] < before + timedelta(hours=2)
    assert '@' in row['origin']
    assert row['earlier_attempts'] is None
    # SQS tells whole milliseconds.
    assert before - timedelta(milliseconds=1) <= row['sent_at'] <= row['seen_at']


@pytest.mark.parametrize('database', ['postgresql', 'sqlite'])
def test_a_retry_updates_the_row_and_an_older_message_does_not(
    postgres: PostgresServer, tmp_path: Path, database: str
) -> None:
    urls = {'postgresql': postgres.backend_url, 'sqlite': f'db+sqlite:///{tmp_path}/db'}
    app = Celery(backend=urls[database], set_as_current=False)
    app.conf.database_engine_options = {'poolclass': NullPool}
    migrate(app)
    engine, task_id = engine_of(app), uuid.uuid4().hex
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
    save(engine, messages[:1])
    assert row() == messages[0]
    for twice in (messages[1:], messages):
        save(engine, twice)
        assert row() == messages[1] | {'sent_at': first, 'seen_at': messages[2]['seen_at']}


@pytest.mark.usefixtures('monitor')
def test_what_is_wrong_with_earlier_attempts_costs_neither_the_others_nor_the_row(
    scene: Scene,
) -> None:
    crumb = {
        'data': {'attempt': 1, 'exception': 'nul\0'},
        'timestamp': '2026-01-01T00:00:00+00:00',
    }
    wrong = [None, 'text', {'data': {}}, crumb | {'timestamp': 'yesterday'}]
    headers = [[*wrong, crumb | {'more': 'x'}], 'text', [crumb] * 20]
    ids = [scene.send(headers={'earlier_attempts': each}) for each in headers]
    rows = {row['task_id']: row['earlier_attempts'] for row in scene.wait_for_rows(*ids)}
    kept = crumb | {'data': {'attempt': 1, 'exception': 'nul\N{REPLACEMENT CHARACTER}'}}
    assert [rows[each] for each in ids] == [[kept], None, [kept] * 10]


def test_what_is_not_a_task_is_rejected_and_reported(scene: Scene, monitor: Program) -> None:
    envelope = {'properties': {'delivery_info': {}}}
    broken = [
        'hello',
        json.dumps({'order': 5}),
        base64.b64encode(b'\xff\xfe').decode(),
        json.dumps(envelope | {'headers': {'task': 'add'}}),
        json.dumps(envelope | {'headers': {'task': 'add', 'id': 'x', 'retries': 'many'}}),
        json.dumps(envelope | {'headers': {'compression': 'unheard of'}, 'body': 'x'}),
    ]
    scene.wait_for_rows(scene.send())
    for body in broken:
        scene.send_raw(body)
    # Text that a database refuses is replaced.
    task_id = uuid.uuid4().hex
    headers = {'id': task_id, 'task': 'nul\0 half \ud800 quote \' "'}
    scene.send_raw(json.dumps(envelope | {'headers': headers}))
    (row,) = scene.wait_for_rows(task_id)
    assert row['name'] == 'nul\N{REPLACEMENT CHARACTER} half ? quote \' "'
    assert monitor.log.count('rejected a message that is not a task') == len(broken)
    assert "fault=header 'id': Field required" in monitor.log
    assert 'hello' in monitor.log
    assert 'Traceback' not in monitor.log


def test_an_unavailable_database_loses_nothing_not_even_at_a_stop(
    scene: Scene, monitor: Program
) -> None:
    scene.wait_for_rows(scene.send())
    database = scene.postgres.proxy
    database.cut()
    try:
        missed = [scene.send('add', n) for n in range(3)]
        wait_until(lambda: OUTAGE in monitor.log, 'its outage is noticed')
        database.restore()
        scene.wait_for_rows(*missed)
        wait_until(lambda: monitor.log.count(OUTAGE) == 2, 'its begin and its end, once each')
        database.cut()
        missed = [scene.send()]
        wait_until(lambda: monitor.log.count(OUTAGE) == 3, 'another outage')
        assert monitor.ends(signal.SIGINT) == 0
    finally:
        database.restore()
    assert 'Traceback' not in monitor.log
    assert f'{scene.postgres.user}:***@' in monitor.log
    assert f':{scene.postgres.password}@' not in monitor.log
    with scene.monitor():
        scene.wait_for_rows(*missed)


def test_a_liveness_probe_sees_it_work_and_wait_for_an_unavailable_database(
    sqs: SqsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    scene = Scene(sqs, postgres, tmp_path)  # without the monitor that others share
    file = tmp_path / 'alive'

    def is_touched() -> bool:
        return file.exists() and file.stat().st_mtime > 0

    with scene.monitor(LIVENESS_FILE=str(file)) as monitor:
        scene.wait_for_rows(scene.send())
        os.utime(file, (0, 0))
        wait_until(is_touched, 'it works')
        scene.postgres.proxy.cut()
        try:
            scene.send()
            wait_until(lambda: OUTAGE in monitor.log, 'the outage is noticed')
            os.utime(file, (0, 0))
            wait_until(is_touched, 'it waits')
        finally:
            scene.postgres.proxy.restore()


def test_an_unavailable_broker_loses_nothing(
    sqs: SqsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    scene = Scene(sqs, postgres, tmp_path)
    proxy = Proxy(('127.0.0.1', sqs.port))
    url = f'http://test:test@127.0.0.1:{proxy.port}'
    # SQS may answer a receive that was cut off, and hides for so long what it answered.
    options = "{'visibility_timeout': 1}"
    with scene.monitor(SQS_ENDPOINT_URL=url, CELERY_BROKER_TRANSPORT_OPTIONS=options) as monitor:
        scene.wait_for_rows(scene.send())
        proxy.cut()
        missed = scene.send()
        wait_until(lambda: 'the broker is ' in monitor.log, 'it is noticed')
        proxy.restore()
        scene.wait_for_rows(missed)
        wait_until(lambda: monitor.log.count('the broker is ') == 2, 'its end is noticed')
        proxy.cut()
        assert monitor.ends(signal.SIGTERM) == 0


def test_monitors_share_the_queue_and_one_that_is_killed_loses_nothing(
    sqs: SqsServer, postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(sqs, postgres, tmp_path)
    ids = [scene.send()]
    # The start of a worker tells that the monitor is missing.
    check_monitor(scene.producer, 'app.monitor')
    assert 'nobody consumes the platform queue: ' in caplog.text
    assert 'messages=1; run the monitor (python -m app.monitor), or ' in caplog.text
    caplog.clear()
    options = {'CELERY_BROKER_TRANSPORT_OPTIONS': "{'visibility_timeout': 3}"}
    database = scene.postgres.proxy
    with scene.monitor(**options) as killed, scene.monitor(**options) as other:
        for monitor in (killed, other):
            wait_until(lambda monitor=monitor: 'started: ' in monitor.log, 'it runs')
        scene.wait_for_rows(*ids)
        check_monitor(scene.producer, 'app.monitor')
        assert not caplog.text
        database.cut()
        try:

            def both_hold_messages() -> bool:
                ids.extend(scene.send('add', n) for n in range(15))
                return OUTAGE in killed.log and OUTAGE in other.log

            wait_until(both_hold_messages, 'each has messages that it cannot store')
            killed.process.kill()
        finally:
            database.restore()
        assert len(scene.wait_for_rows(*ids)) == len(ids)


def test_elsewhere_than_locally_it_ends_with_one_line_where_tables_are_missing(
    scene: Scene, tmp_path: Path
) -> None:
    variables = {'ENV': 'test', 'CELERY_RESULT_BACKEND': f'db+sqlite:///{tmp_path}/empty'}
    with scene.monitor(**variables) as monitor:
        assert monitor.ends(timeout=60) == 1
        assert 'are missing in the result database: run `be-queue migrate`' in monitor.log
        assert 'Traceback' not in monitor.log


@pytest.mark.parametrize(
    ('variables', 'message'),
    [
        ({'PLATFORM_QUEUE_NAME': ''}, "PLATFORM_QUEUE_NAME='': the platform queue is switched off"),
        (
            {'CELERY_RESULT_BACKEND': 'redis://me:hunter2@127.0.0.1/0'},
            "result_backend='redis://me:***@127.0.0.1/0': the table of tasks needs db+postgresql",
        ),
        ({'LIVENESS_FILE': '/missing/alive'}, 'LIVENESS_FILE=/missing/alive cannot be written: '),
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
