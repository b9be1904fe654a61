"""The table of tasks, in the result database: the monitor writes it, the dashboard reads it.

It is joined to Celery's ``celery_taskmeta`` by ``task_id``, without a constraint: a result may be
there before its task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from celery import Celery, states
from celery.utils.saferepr import saferepr
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    case,
    create_engine,
    func,
    inspect,
    null,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import DateTime, TypeDecorator

from be_queue import SettingError
from be_queue.redact import redact
from be_queue.text import shortened

__all__ = ['ID_LENGTH', 'TASKS', 'TaskTable']

#: Characters that Celery's own tables give a task's id.
ID_LENGTH = 155
#: Bytes of a stored result that are worth decoding, and characters of it that are shown.
MAX_RESULT = 20_000
SHOWN = 200

_INSERT: Mapping[str, Any] = {'postgresql': postgresql.insert, 'sqlite': sqlite.insert}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; PostgreSQL gives it back in the session's zone, SQLite without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        # Celery's times without a zone are in UTC.
        return value and value.replace(tzinfo=value.tzinfo or timezone.utc).astimezone(timezone.utc)

    process_result_value = process_bind_param


TASKS = Table(
    'tasks',
    MetaData(),
    Column('task_id', String(ID_LENGTH), primary_key=True),
    Column('name', Text, nullable=False),
    # The routing key of the message, which is the name of the queue.
    Column('queue', Text),
    # Celery's representations, truncated.
    Column('args', Text),
    Column('kwargs', Text),
    # The highest seen.
    Column('retries', Integer, nullable=False),
    Column('parent_id', Text),
    Column('root_id', Text),
    Column('group_id', Text),
    # Those of the latest attempt; origin is the process that sent it.
    Column('eta', UtcDateTime),
    Column('expires', UtcDateTime),
    Column('origin', Text),
    # When the broker took the first message of the task.
    Column('sent_at', UtcDateTime, nullable=False, index=True),
    # When the monitor last saw a message of the task.
    Column('seen_at', UtcDateTime, nullable=False),
)


class TaskTable:
    """The table in the app's result database; its methods raise what SQLAlchemy raises."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    @cached_property
    def engine(self) -> Engine:
        """The engine of the database; raises `SettingError` for one without such a table."""
        conf = self._app.conf
        try:
            url = conf.result_backend.removeprefix('db+')
            engine = create_engine(url, hide_parameters=True, **conf.database_engine_options)
            _INSERT[engine.dialect.name]
        except (ArgumentError, ImportError, KeyError) as error:
            raise SettingError(
                f'result_backend={redact(conf.result_backend)!r}: the table of tasks needs '
                f'db+postgresql+psycopg://... or db+sqlite:///... ({error})'
            ) from None
        return engine

    def save(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or update ``rows``, all or none, and create the table when it is missing."""
        with self.engine.begin() as connection:
            TASKS.create(connection, checkfirst=True)
            connection.execute(self._upsert, rows)

    @cached_property
    def _upsert(self) -> Any:
        insert = _INSERT[self.engine.dialect.name](TASKS)
        old, new = TASKS.c, insert.excluded
        # Messages come twice and in any order: an older attempt must not undo a newer one.
        latest = {c.name: case((new.retries >= old.retries, new[c.name]), else_=c) for c in old}
        first_sent = case((new.sent_at < old.sent_at, new.sent_at), else_=old.sent_at)
        return insert.on_conflict_do_update(
            index_elements=[old.task_id],
            set_=latest | {'sent_at': first_sent, 'seen_at': new.seen_at},
        )

    def latest(self, count: int) -> list[dict[str, Any]]:
        """Return so many tasks, the latest first, as the page shows them."""
        with self.engine.connect() as connection:
            query = self._select(connection)
            rows = [] if query is None else connection.execute(query.limit(count)).all()
        return [self._shown(row) for row in rows]

    def _select(self, connection: Connection) -> Select[Any] | None:
        """Return the query of all tasks, the latest first; None when there is no table yet."""
        results = self._app.backend.task_cls.__table__
        r, t, there = results.c, TASKS.c, inspect(connection)
        sent: dict[str, Any] = {
            'task_id': t.task_id,
            'name': t.name,
            'eta': t.eta,
            'sent_retries': t.retries,
            'sent': t.sent_at,
        }
        stored: dict[str, Any] = {
            'state': r.status,
            # These two are missing without Celery's result_extended.
            'run_name': r.get('name', null()),
            'run_retries': r.get('retries', null()),
            'size': func.length(r.result),
            'result': case((func.length(r.result) <= MAX_RESULT, r.result)),
            'done': r.date_done,
        }
        has_results = there.has_table(results.name, schema=results.schema)
        source: Any = TASKS
        newest = t.sent_at
        if not there.has_table(TASKS.name):
            if not has_results:
                return None
            sent = dict.fromkeys(sent, null()) | {'task_id': r.task_id}
            source, newest = results, r.date_done
        elif has_results:
            source = TASKS.outerjoin(results, t.task_id == r.task_id)
        else:
            stored = dict.fromkeys(stored, null())
        columns = [column.label(name) for name, column in (sent | stored).items()]
        return select(*columns).select_from(source).order_by(newest.desc())

    def _shown(self, row: Row[Any]) -> dict[str, Any]:
        state = row.state or states.PENDING
        ended = state in states.READY_STATES
        eta = None if ended else row.eta
        return {
            'id': row.task_id,
            'name': str(redact(row.name or row.run_name or '')),
            'state': state,
            'attempt': max(row.sent_retries or 0, row.run_retries or 0) + 1,
            'result': self._result(row, state),
            'sent': row.sent,
            # Celery keeps it in UTC without a zone.
            'done': row.done.replace(tzinfo=timezone.utc) if ended and row.done else None,
            # When the next attempt is to start, if it must wait for that.
            'due': eta if eta and eta > datetime.now(timezone.utc) else None,
        }

    def _result(self, row: Row[Any], state: str) -> str:
        # While a task runs, its process is stored in place of a result.
        if row.size is None or state not in states.READY_STATES | {states.RETRY}:
            return ''
        if row.result is None:
            return f'{row.size:,} bytes'
        try:
            value = self._app.backend.decode(row.result)
        except Exception as error:  # noqa: BLE001  (whatever the serializer raises)
            return f'cannot be decoded: {type(error).__name__}'
        if state in states.EXCEPTION_STATES and isinstance(value, dict):
            message = value.get('exc_message') or ()
            parts = message if isinstance(message, (list, tuple)) else [message]
            text = f'{value.get("exc_type")}: {", ".join(map(str, parts))}'
            return shortened(str(redact(text)), SHOWN)
        return str(redact(saferepr(redact(value), maxlen=SHOWN)))
