"""Celery's database backend: one statement per stored state, times in UTC.

`Config` puts it in the place of Celery's own, for producers and workers. The tables are Celery's,
and so is how they are read. Drivers without a mark in `_MARKS` keep Celery's statements.

Celery's columns of times have no time zone and its times have one, so PostgreSQL would convert them
to the session's zone. To set the session's zone takes a startup parameter, which PgBouncer and RDS
Proxy refuse, so the times lose their zone here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from celery import states
from celery.backends import database
from celery.backends.database import session
from celery.exceptions import TaskRevokedError
from kombu.utils.encoding import ensure_bytes
from sqlalchemy import Connection, Engine, String, Table, delete, event, inspect, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError

from be_queue.text import storable

__all__ = ['INSERTS', 'DatabaseBackend', 'prepare_statements', 'without_zone']

#: Marks of a parameter by driver.
_MARKS = {'psycopg': '%({})s', 'psycopg2': '%({})s', 'pysqlite': ':{}'}
#: Inserts with ON CONFLICT by dialect.
INSERTS: dict[str, Any] = {'postgresql': postgresql.insert, 'sqlite': sqlite.insert}
#: The column with the start of the latest attempt, in UTC.
STARTED_AT = 'started_at'
#: Expired results that one statement deletes, so that it holds up no other for long.
DELETED_AT_ONCE = 1000
#: Executions of a statement after which psycopg prepares it: its default.
PREPARE_THRESHOLD = 5


class SessionManager(session.SessionManager):
    """Celery's, which tries ten times to create its tables, also while the server is down."""

    def prepare_models(self, engine: Engine) -> None:
        if not self.prepared:
            engine.connect().close()
        super().prepare_models(engine)

    def invalidate(self, dburi: str) -> None:
        super().invalidate(dburi)
        self.prepared = False  # the tables may have been dropped


class DatabaseBackend(database.DatabaseBackend):
    """Celery's own, with the differences that this module names."""

    #: Errors of values that the database can never store, such as an id that is too long.
    refusals = (DataError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._callback = self.session_manager.engine_callback
        self.session_manager: Any = SessionManager(self._engine_made)
        self._upsert: str | None = None
        self._driver = make_url(self.url).get_driver_name()
        if self._driver in _MARKS:
            # Without the round trips that begin and end a transaction and test a connection.
            self.engine_options |= {'isolation_level': 'AUTOCOMMIT', 'pool_pre_ping': False}

    def connect(self) -> Connection:
        """Return a connection, once the tables exist."""
        connection: Connection = self._engine().connect()
        return connection

    def _engine(self) -> Engine:
        engine: Engine = self.session_manager.get_engine(self.url, **self.engine_options)
        self.session_manager.prepare_models(engine)
        return engine

    def _engine_made(self, engine: Engine) -> None:
        # Elsewhere than in a process of a pool, a connection is used once.
        if engine.driver == 'psycopg' and self.session_manager.forked:
            event.listen(engine, 'connect', prepare_statements)
        if self._callback is not None:
            self._callback(engine)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        return not isinstance(exc, self.refusals) and bool(super().exception_safe_to_retry(exc))

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> None:
        if self._driver not in _MARKS:
            super()._store_result(task_id, result, state, traceback, request, **kwargs)
            return
        row = SimpleNamespace(task_id=task_id, children=None, stamps=None)
        self._update_result(row, result, state, traceback=traceback, request=request)
        started_at = datetime.now(timezone.utc).replace(tzinfo=None)
        # As SQLAlchemy writes them in SQLite.
        row.date_done = row.date_done and row.date_done.isoformat(' ', 'microseconds')
        is_start = state == states.STARTED
        row.started_at = started_at.isoformat(' ', 'microseconds') if is_start else None
        try:
            is_stored = self._execute(vars(row))
        except DBAPIError as error:
            if not self.exception_safe_to_retry(error):
                raise
            self._upsert = None
            # The server may have restarted since the last result, or its login may have expired.
            self.on_backend_retryable_error(error)
            is_stored = self._execute(vars(row))
        if state == states.STARTED and not is_stored:
            self.not_started(task_id)

    def not_started(self, task_id: str) -> None:
        """Called when a task was to start and is over: `SUCCESS` or `REVOKED`. Does nothing."""

    @property
    def can_revoke(self) -> bool:
        """Whether `revoke` works with this driver."""
        return self._driver in _MARKS

    def revoke(self, task_id: str) -> bool:
        """Store `REVOKED` for a task that waits; return False when it has begun or is over."""
        table: Table = self.task_cls.__table__
        error = self.encode_result(TaskRevokedError('revoked'), states.REVOKED)
        row = {
            'status': states.REVOKED,
            'result': ensure_bytes(self.encode(error)),
            'traceback': None,
            'date_done': without_zone(datetime.now(timezone.utc)),
        }
        with self.connect() as connection:
            insert = INSERTS[connection.dialect.name](table).values(task_id=task_id, **row)
            statement = insert.on_conflict_do_update(
                index_elements=[table.c.task_id],
                set_=row,
                where=table.c.status.in_((states.PENDING, states.RETRY)),
            )
            return connection.scalar(statement.returning(table.c.id)) is not None

    def _execute(self, row: dict[str, Any]) -> bool:
        """Execute the statement by the driver: SQLAlchemy would take as long again.

        Return whether it has changed a row.
        """
        engine = self._engine()
        if self._upsert is None:
            self._upsert = self._statement(engine)
        errors = engine.dialect.loaded_dbapi.Error
        try:
            connection = engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(self._upsert, row)
                is_changed = cursor.rowcount > 0
            except BaseException:
                connection.invalidate()
                raise
            connection.close()
        except errors as error:
            raise DBAPIError.instance(
                self._upsert, row, error, errors, hide_parameters=True, dialect=engine.dialect
            ) from error
        return is_changed

    def _update_result(self, task: Any, *args: Any, **kwargs: Any) -> None:
        super()._update_result(task, *args, **kwargs)
        task.date_done = task.date_done and without_zone(task.date_done)
        for name, length in self._texts:
            value = getattr(task, name)
            if isinstance(value, str):
                # For a row that is refused, Celery would store another failure instead.
                setattr(task, name, storable(value)[:length])

    def cleanup(self) -> None:
        """Delete expired results."""
        self._ensure_retryable(self._delete_expired)

    def _delete_expired(self) -> None:
        if not self.expires:  # never
            return
        expired = without_zone(datetime.now(timezone.utc) - self.expires)
        for rows in (self.task_cls, self.taskset_cls):
            old = select(rows.id).where(rows.date_done < expired).limit(DELETED_AT_ONCE)
            ids: Sequence[int] | None = None
            while ids is None or len(ids) == DELETED_AT_ONCE:
                with self.ResultSession() as session:
                    ids = session.scalars(old).all()
                    session.execute(delete(rows).where(rows.id.in_(ids)))
                    session.commit()

    @cached_property
    def _texts(self) -> list[tuple[str, int | None]]:
        """The columns of text but for the key, each with its length."""
        return [
            (column.name, column.type.length)
            for column in self.task_cls.__table__.columns
            if isinstance(column.type, String) and column.name != 'task_id'
        ]

    def _statement(self, engine: Engine) -> str:
        """Return the statement as the driver takes it."""
        table: Table = self.task_cls.__table__
        dialect = engine.dialect
        name = dialect.identifier_preparer.format_table(table)
        columns = [column.name for column in table.columns if column.name != 'id']
        updates = {column: f'excluded.{column}' for column in columns}
        # A column of the history, which Celery does not know and `be-queue migrate` adds.
        there = inspect(engine).get_columns(table.name, table.schema)
        if any(column['name'] == STARTED_AT for column in there):
            columns.append(STARTED_AT)
            updates[STARTED_AT] = f'coalesce(excluded.{STARTED_AT}, stored.{STARTED_AT})'
        values = {column: _MARKS[self._driver].format(column) for column in columns}
        given = dict(values)
        if dialect.name == 'postgresql':
            # An update takes no number from the sequence, which ends at two billion.
            sequence = dialect.identifier_preparer.format_sequence(self.task_cls.id.default)
            stored = f'SELECT id FROM {name} WHERE task_id = CAST({values["task_id"]} AS varchar)'
            given['id'] = f"coalesce(({stored}), nextval('{sequence}'))"
        return (
            f'INSERT INTO {name} AS stored ({", ".join(given)}) '
            f'VALUES ({", ".join(given.values())}) '
            'ON CONFLICT (task_id) DO UPDATE SET '
            + ', '.join(f'{column} = {value}' for column, value in updates.items())
            # As in Celery, a success stays when its message is delivered again. A failure outlasts
            # a retry: the attempt that this leads to may be over before Celery stores the retry.
            + f" WHERE stored.status != '{states.SUCCESS}' AND NOT"
            f" (stored.status = '{states.FAILURE}' AND excluded.status = '{states.RETRY}')"
            # The message of a revoked task comes later.
            f" AND (stored.status, excluded.status) != ('{states.REVOKED}', '{states.STARTED}')"
        )


def prepare_statements(connection: Any, record: Any) -> None:
    """Have the server parse and plan a statement once, if the connection is its own.

    For SQLAlchemy's event ``connect`` of an engine for psycopg.

    PgBouncer in transaction mode gives each transaction any connection of the server, which may not
    have a prepared statement, and RDS Proxy would give up sharing it. PgBouncer tells its clients a
    random process id (https://github.com/pgbouncer/pgbouncer/pull/945), and RDS Proxy none.
    """
    (pid,) = connection.execute('SELECT pg_backend_pid()').fetchone()
    if pid == connection.info.backend_pid:
        connection.prepare_threshold = PREPARE_THRESHOLD


def without_zone(moment: datetime) -> datetime:
    """Return a moment as Celery's columns have it: in UTC, without the zone."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None)
