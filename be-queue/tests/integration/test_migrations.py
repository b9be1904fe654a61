"""The schema of the history: on each database, from each state, by several at once."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta, timezone
from pathlib import Path
from subprocess import PIPE, Popen, run
from types import ModuleType
from typing import Any

import pytest
from celery import Celery, states
from click.testing import CliRunner, Result
from sqlalchemy import Engine, NullPool, inspect, text
from sqlalchemy.exc import ProgrammingError

from be_queue import Config, extras
from be_queue.cli import main
from be_queue.testing.postgres import URL, PostgresServer
from be_queue.worker.history import History, engine_of, fault, migrate, save
from be_queue.worker.history.retention import prune
from be_queue.worker.history.tables import METADATA, SCHEDULE, TASKS
from be_queue.worker.preflight import prepare_history
from tests.support.process import ROOT

ADDED = {'earlier_attempts'}
#: As docs/history.md names them.
ROLES = ('worker', 'monitor', 'scheduler', 'dashboard')


@pytest.fixture(params=['postgresql', 'sqlite'])
def url(request: Any, postgres: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """An empty database, as Celery's ``result_backend``."""
    if request.param == 'sqlite':
        yield f'db+sqlite:///{tmp_path}/results.sqlite'
        return
    with empty_database(postgres) as url:
        yield url


@contextmanager
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    name = f'm{uuid.uuid4().hex[:10]}'
    with postgres.connect() as connection:
        connection.execute(f'CREATE DATABASE {name}')
        yield f'{postgres.backend_url.removesuffix(postgres.name)}{name}'
        connection.execute(f'DROP DATABASE {name} WITH (FORCE)')


def app_of(url: str, **settings: Any) -> Celery:
    app = Celery(set_as_current=False)
    app.config_from_object(Config([], result_backend=url, **settings))
    # Connections are not kept.
    app.conf.database_engine_options = app.conf.database_engine_options | {'poolclass': NullPool}
    return app


def columns(engine: Engine, table: str, schema: str | None = None) -> set[str]:
    return {column['name'] for column in inspect(engine).get_columns(table, schema)}


def test_an_empty_database_gets_all_tables_by_several_at_once_and_a_second_time(url: str) -> None:
    code = (
        'import sys; from celery import Celery; from be_queue import Config; '
        'from be_queue.worker.history import migrate; app = Celery(); '
        'app.config_from_object(Config([], result_backend=sys.argv[1])); migrate(app)'
    )
    processes = [Popen([sys.executable, '-c', code, url], stderr=PIPE) for _ in range(3)]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert [status for _, status in ends] == [0, 0, 0], ends
    app = app_of(url)
    engine = engine_of(app)
    assert set(TASKS.c.keys()) == columns(engine, 'tasks')
    assert 'started_at' in columns(engine, 'celery_taskmeta')
    assert fault(app) is None
    migrate(app)


def test_tables_that_were_made_without_alembic_keep_their_rows(url: str) -> None:
    app = app_of(url)
    engine = engine_of(app)
    app.backend.store_result('old', 1, states.SUCCESS)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        for name in ADDED:
            connection.execute(text(f'ALTER TABLE tasks DROP COLUMN {name}'))
        columns_of_a_row = 'task_id, name, retries, sent_at, seen_at'
        values = "'old', 'add', 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00'"
        connection.execute(text(f'INSERT INTO tasks ({columns_of_a_row}) VALUES ({values})'))
        # As an interrupted migration leaves it, which has made an index and not its revision.
        connection.execute(text('CREATE INDEX ix_tasks_name_sent_at ON tasks (queue)'))
    assert 'are missing in the result database: run `be-queue migrate`' in str(fault(app))
    migrate(app)
    indexes = {each['name']: each['column_names'] for each in inspect(engine).get_indexes('tasks')}
    if engine.dialect.name == 'postgresql':
        assert indexes['ix_tasks_name_sent_at'] == ['name', 'sent_at']
    assert set(TASKS.c.keys()) == columns(engine, 'tasks')
    with engine.connect() as connection:
        assert connection.scalar(text('SELECT name FROM tasks')) == 'add'
        assert connection.scalar(text('SELECT task_id FROM celery_taskmeta')) == 'old'


def test_tables_of_a_newer_version_stop_nothing_and_those_of_an_older_one_are_named(
    url: str,
) -> None:
    app = app_of(url)
    migrate(app)
    engine = engine_of(app)
    with engine.begin() as connection:
        connection.execute(text("UPDATE be_queue_version SET version_num = '9999'"))
    assert fault(app) is None
    assert migrate(app) == '9999'


def test_the_start_of_the_latest_attempt_is_stored_where_the_column_is(url: str) -> None:
    app = app_of(url)
    backend, engine = app.backend, engine_of(app)

    def store(*stored: str) -> tuple[str, Any]:
        for state in stored:
            backend.store_result('id', ValueError() if state == states.RETRY else 1, state)
        with engine.connect() as connection:
            row = connection.execute(text('SELECT status, started_at FROM celery_taskmeta'))
            return tuple(row.one())

    backend.store_result('before', 1, states.STARTED)
    assert 'started_at' not in columns(engine, 'celery_taskmeta')
    backend.forget('before')
    migrate(app)
    backend = app_of(url).backend
    _, first = store(states.STARTED)
    assert first is not None
    assert store(states.STARTED, states.RETRY) > (states.RETRY, first)
    _, second = store(states.STARTED)
    assert second > first
    assert store(states.SUCCESS) == (states.SUCCESS, second)
    # Celery's own backend reads and writes the same table.
    plain = Celery(backend=url, set_as_current=False)
    plain.conf.update(
        result_extended=True, database_engine_options=app.conf.database_engine_options
    )
    assert plain.AsyncResult('id').get() == 1
    plain.backend.store_result('plain', 2, states.SUCCESS)
    assert app.AsyncResult('plain').get() == 2


def test_the_tables_may_have_other_names_and_a_schema(postgres: PostgresServer) -> None:
    schema = 'history'
    code = """
import sys
from sqlalchemy import text
from be_queue.worker.history import engine_of, fault, migrate
from tests.integration.test_migrations import app_of, columns
app = app_of(
    sys.argv[1],
    database_table_names={'task': 'results', 'group': 'groups'},
    database_table_schemas={'task': sys.argv[2], 'group': sys.argv[2]},
)
migrate(app)
assert 'started_at' in columns(engine_of(app), 'results', sys.argv[2])
app.backend.store_result('id', 1, 'STARTED')
with engine_of(app).connect() as connection:
    assert connection.scalar(text(f'SELECT started_at FROM {sys.argv[2]}.results'))
"""
    with empty_database(postgres) as url:
        engine = engine_of(app_of(url))
        with engine.begin() as connection:
            connection.execute(text(f'CREATE SCHEMA {schema}'))
        # Celery keeps the names in classes that all apps of a process share.
        run([sys.executable, '-c', code, url, schema], check=True)


def test_the_command_migrates_and_says_in_one_line_what_it_lacks(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType('migrated')
    module.app = app = app_of(url)
    monkeypatch.setitem(sys.modules, 'migrated', module)

    def run_command() -> Result:
        return CliRunner().invoke(main, ['-A', 'migrated', 'migrate'])

    done = run_command()
    assert (done.exit_code, fault(app)) == (0, None)
    assert done.output.startswith('the tables of the history have revision ')
    monkeypatch.setitem(extras.MODULES, 'worker', ('not_there',))
    lacking = run_command()
    assert lacking.exit_code == 1
    assert 'not_there is not installed: install be-queue[worker]' in lacking.output
    assert len(lacking.output.splitlines()) == 1


def test_the_start_migrates_locally_and_elsewhere_warns_in_one_line(
    url: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    app = app_of(url)
    prepare_history(app, is_local=False)
    (warning,) = caplog.messages
    assert warning.endswith('are missing in the result database: run `be-queue migrate`')
    caplog.clear()
    prepare_history(app, is_local=True)
    assert fault(app) is None
    # The worker starts while the database is unavailable, and says so itself.
    (tmp_path / 'no').mkdir()
    for unavailable in (f'{URL}@127.0.0.1:1/none', f'db+sqlite:///{tmp_path}/no/such/folder'):
        prepare_history(app_of(unavailable), is_local=True)
    assert not caplog.messages


def test_each_user_needs_the_rights_on_its_own_tables_that_the_page_names(
    postgres: PostgresServer,
) -> None:
    page = (ROOT / 'docs' / 'history.md').read_text()
    grants = page.partition('```sql\n')[2].partition('```')[0]
    users = {name: f'{name}_{uuid.uuid4().hex[:8]}' for name in ('owner', *ROLES)}
    for name in ROLES:
        grants = grants.replace(f' TO {name};', f' TO {users[name]};')
    with empty_database(postgres) as url, postgres.connect() as superuser:
        for user in users.values():
            superuser.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{postgres.password}'")
        apps = {
            name: app_of(url.replace(f'//{postgres.user}:', f'//{user}:'))
            for name, user in users.items()
        }
        administrator = engine_of(app_of(url))
        with administrator.begin() as connection:
            connection.execute(text(f'GRANT CREATE ON SCHEMA public TO {users["owner"]}'))
        migrate(apps['owner'])
        with engine_of(apps['owner']).begin() as connection:
            connection.execute(text(grants))

        work = apps['worker'].backend
        for state in (states.STARTED, states.SUCCESS):
            work.store_result('id', 1, state)
        apps['worker'].backend.cleanup()
        monitor = engine_of(apps['monitor'])
        now = datetime.now(timezone.utc)
        row = dict.fromkeys(TASKS.c.keys()) | {'task_id': 'id', 'name': 'add', 'retries': 0}
        for _ in range(2):
            save(monitor, [row | {'sent_at': now, 'seen_at': now}])
        assert fault(apps['monitor']) is None
        with engine_of(apps['scheduler']).begin() as connection:
            connection.execute(SCHEDULE.insert(), {'name': 'nightly', 'last_run_at': now})
            connection.execute(SCHEDULE.update().values(last_run_at=now))
            assert connection.scalar(SCHEDULE.select()) == 'nightly'
        task = History(apps['dashboard']).find('id')
        assert task is not None
        assert (task.state, task.started_at is not None) == (states.SUCCESS, True)
        assert prune(monitor, timedelta(0)) == 1

        for name, table, rows in (
            ('dashboard', 'schedule', 1),
            ('worker', 'tasks', None),
            ('scheduler', 'celery_taskmeta', None),
            ('monitor', 'celery_taskmeta', None),
        ):
            with (
                nullcontext() if rows else pytest.raises(ProgrammingError, match='permission'),
                engine_of(apps[name]).connect() as connection,
            ):
                assert connection.scalar(text(f'SELECT count(*) FROM {table}')) == rows
    with postgres.connect() as superuser:
        for user in users.values():
            superuser.execute(f'DROP ROLE {user}')
