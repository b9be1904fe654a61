"""The table of tasks, in the result database.

It is joined to Celery's ``celery_taskmeta`` by ``task_id``, without a constraint: a result may be
there before its task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, case, create_engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import DateTime, TypeDecorator

from be_queue import SettingError
from be_queue.redact import redact

__all__ = ['ID_LENGTH', 'TASKS', 'TaskTable', 'open_engine']

#: Characters that Celery's own tables give a task's id.
ID_LENGTH = 155

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


def open_engine(result_backend: str, options: Mapping[str, Any]) -> Engine:
    """Return an engine of Celery's result database, by its settings; raise `SettingError`."""
    try:
        url = result_backend.removeprefix('db+')
        engine = create_engine(url, hide_parameters=True, **options)
        _INSERT[engine.dialect.name]
    except (ArgumentError, ImportError, KeyError) as error:
        raise SettingError(
            f'result_backend={redact(result_backend)!r}: the table of tasks needs '
            f'db+postgresql+psycopg://... or db+sqlite:///... ({error})'
        ) from None
    return engine


class TaskTable:
    """Writes rows of `TASKS`, and creates the table when it is missing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        insert = _INSERT[engine.dialect.name](TASKS)
        old, new = TASKS.c, insert.excluded
        # Messages come twice and in any order: an older attempt must not undo a newer one.
        latest = {c.name: case((new.retries >= old.retries, new[c.name]), else_=c) for c in old}
        first_sent = case((new.sent_at < old.sent_at, new.sent_at), else_=old.sent_at)
        self._upsert = insert.on_conflict_do_update(
            index_elements=[old.task_id],
            set_=latest | {'sent_at': first_sent, 'seen_at': new.seen_at},
        )

    def save(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or update ``rows``, all or none; raise what SQLAlchemy raises."""
        with self._engine.begin() as connection:
            TASKS.create(connection, checkfirst=True)
            connection.execute(self._upsert, rows)
