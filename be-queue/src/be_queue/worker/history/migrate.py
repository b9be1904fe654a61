"""Makes and changes the tables of the history, with Alembic."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from celery import Celery
from sqlalchemy import Connection, Engine, event, text

from be_queue.worker.history.database import engine_of, transaction

__all__ = ['VERSION_TABLE', 'fault', 'migrate']

logger = logging.getLogger(__name__)
# Alembic, which is imported where it is needed since few processes do, tells of each step.
logging.getLogger('alembic').setLevel(logging.WARNING)

#: The service may have migrations of its own in the same database.
VERSION_TABLE = 'be_queue_version'
#: The advisory lock of a migration: two processes that start together migrate in turn.
LOCK = 7_316_204_011
#: Seconds between two tries to get it.
LOCK_POLL_SECONDS = 0.2


def migrate(app: Celery) -> str:
    """Make the tables of an app's history or bring them up to date; return their revision.

    The tables of a newer version stay as they are.

    Raises `SettingError` for a backend that keeps no history, and what SQLAlchemy raises.
    """
    from alembic import command
    from alembic.config import Config

    results = app.backend.task_cls.__table__  # Celery may make its tables now
    engine = engine_of(app)
    try:
        with _locked(engine) as connection:
            before = _revision(connection)
            if before and before not in _known():
                return before
            config = Config(attributes={'results': results, 'connection': connection})
            config.set_main_option('script_location', _scripts())
            command.upgrade(config, 'head')
            after = _known()[0]
    finally:
        engine.dispose()
    if before != after:
        logger.info('tables of the history are migrated: from=%s to=%s', before, after)
    return after


def fault(app: Celery) -> str | None:
    """Return the fault of an app's tables, with the fix; None for those of a newer version too.

    Raises what `migrate` raises.
    """
    with transaction(app) as connection:
        found = _revision(connection)
    newest, *older = _known()
    if found is None:
        is_fault = 'are missing'
    elif found in older:
        is_fault = f'have revision {found}, and this version needs {newest}'
    else:
        return None
    return f'the tables of the history {is_fault} in the result database: run `be-queue migrate`'


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """Yield a connection while no other process migrates."""
    if engine.dialect.name != 'postgresql':
        # SQLite's driver begins no transaction before a table is made.
        event.listen(engine, 'connect', lambda driver, _: setattr(driver, 'isolation_level', None))
        event.listen(engine, 'begin', lambda c: c.exec_driver_sql('BEGIN IMMEDIATE'))
        with engine.begin() as connection:
            yield connection
        return
    # In a transaction beside the migration's, which may commit in between: PgBouncer would give a
    # session's lock to another client. To wait in the statement would hold up CREATE INDEX
    # CONCURRENTLY, which waits for every statement that runs.
    with engine.connect() as lock, engine.connect() as connection:
        lock.execute(text('SET LOCAL idle_in_transaction_session_timeout = 0'))
        while not lock.scalar(text(f'SELECT pg_try_advisory_xact_lock({LOCK})')):
            time.sleep(LOCK_POLL_SECONDS)
        yield connection


def _revision(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    options = {'version_table': VERSION_TABLE}
    # Alembic commits nothing while there is a transaction of another.
    with nullcontext() if connection.in_transaction() else connection.begin():
        return MigrationContext.configure(connection, opts=options).get_current_revision()


def _known() -> list[str]:
    """Return the revisions of this version, the newest first."""
    from alembic.script import ScriptDirectory

    return [each.revision for each in ScriptDirectory(_scripts()).walk_revisions()]


def _scripts() -> str:
    return str(Path(__file__).parent / 'migrations')
