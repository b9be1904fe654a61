"""Celery's database backend: one statement per stored state, times in UTC.

`Config` puts it in the place of Celery's own, for producers and workers. The tables are Celery's,
and so is how they are read. Databases other than PostgreSQL and SQLite keep Celery's statements.

Celery's columns of times have no time zone and its times have one, so PostgreSQL would convert them
to the session's zone. To set the session's zone takes a startup parameter, which PgBouncer and RDS
Proxy refuse, so the times lose their zone here.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from celery import states
from celery.backends import database
from celery.backends.database import session
from celery.backends.database.models import TaskSet
from sqlalchemy import (
    Connection,
    Engine,
    String,
    Table,
    TextClause,
    bindparam,
    delete,
    event,
    func,
    literal_column,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError

from be_queue.text import storable

__all__ = ['DatabaseBackend']

_DIALECTS: dict[str, Any] = {'postgresql': postgresql, 'sqlite': sqlite}


@event.listens_for(TaskSet, 'before_insert')
def _date_group(mapper: Any, connection: Any, group: TaskSet) -> None:
    group.date_done = _without_zone(datetime.now(timezone.utc))


class SessionManager(session.SessionManager):
    """Celery's, which tries ten times to create its tables, also while the server is down."""

    def prepare_models(self, engine: Engine) -> None:
        if not self.prepared:
            engine.connect().close()
        super().prepare_models(engine)


class DatabaseBackend(database.DatabaseBackend):
    """Celery's own, with the differences that this module names."""

    #: Errors of values that the database can never store, such as an id that is too long.
    refusals = (DataError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session_manager: Any = SessionManager(self.session_manager.engine_callback)
        self._dialect = make_url(self.url).get_backend_name()
        if self._dialect in _DIALECTS:
            # Without the round trips that begin and end a transaction and test a connection.
            self.engine_options |= {'isolation_level': 'AUTOCOMMIT', 'pool_pre_ping': False}

    def connect(self) -> Connection:
        """Return a connection, once the tables exist; a process of a pool keeps it for the next."""
        engine = self.session_manager.get_engine(self.url, **self.engine_options)
        self.session_manager.prepare_models(engine)
        connection: Connection = engine.connect()
        return connection

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
        if self._dialect not in _DIALECTS:
            super()._store_result(task_id, result, state, traceback, request, **kwargs)
            return
        row = SimpleNamespace(task_id=task_id, children=None, stamps=None)
        self._update_result(row, result, state, traceback=traceback, request=request)
        connection = self.connect()
        try:
            with connection:
                connection.execute(self._upsert, vars(row))
        except DBAPIError as error:
            if not self.exception_safe_to_retry(error):
                raise
            # The server may have restarted since the last result, or its login may have expired.
            self.on_backend_retryable_error(error)
            with self.connect() as connection:
                connection.execute(self._upsert, vars(row))

    def _update_result(self, task: Any, *args: Any, **kwargs: Any) -> None:
        super()._update_result(task, *args, **kwargs)
        task.date_done = task.date_done and _without_zone(task.date_done)
        for name, length in self._texts:
            value = getattr(task, name)
            if isinstance(value, str):
                # For a row that is refused, Celery would store another failure instead.
                setattr(task, name, storable(value)[:length])

    def cleanup(self) -> None:
        """Delete expired results."""
        self._ensure_retryable(self._delete_expired)

    def _delete_expired(self) -> None:
        expired = _without_zone(datetime.now(timezone.utc) - self.expires)
        with self.ResultSession() as session:
            for rows in (self.task_cls, self.taskset_cls):
                session.execute(delete(rows).where(rows.date_done < expired))
            session.commit()

    @cached_property
    def _texts(self) -> list[tuple[str, int | None]]:
        """The columns of text but for the key, with how many characters each takes."""
        return [
            (column.name, column.type.length)
            for column in self.task_cls.__table__.columns
            if isinstance(column.type, String) and column.name != 'task_id'
        ]

    @cached_property
    def _upsert(self) -> TextClause:
        """The statement as text: SQLAlchemy takes three times as long with the expression."""
        table: Table = self.task_cls.__table__
        dialect = _DIALECTS[self._dialect]
        columns = [column for column in table.columns if column.name != 'id']
        insert = dialect.insert(table).inline()  # which returns no number
        if dialect is postgresql:
            # An update takes no number from the sequence, which ends at two billion.
            stored = select(table.c.id).where(table.c.task_id == literal_column(':task_id'))
            number = self.task_cls.id.default.next_value()
            insert = insert.values(id=func.coalesce(stored.scalar_subquery(), number))
        statement = insert.on_conflict_do_update(
            index_elements=[table.c.task_id],
            set_={column.name: insert.excluded[column.name] for column in columns},
            # As in Celery, a success stays when its message is delivered again.
            where=table.c.status != literal_column(f"'{states.SUCCESS}'"),
        )
        names = [column.name for column in columns]
        compiled = statement.compile(dialect=dialect.dialect(paramstyle='named'), column_keys=names)
        return text(str(compiled)).bindparams(
            *(bindparam(column.name, type_=column.type) for column in columns)
        )


def _without_zone(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None)
