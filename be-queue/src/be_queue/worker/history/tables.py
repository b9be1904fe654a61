"""The tables beside Celery's own: tasks, which the monitor writes, and the scheduler's state.

``tasks`` is joined to Celery's ``celery_taskmeta`` by ``task_id``, without a constraint: a result
may be there before its task.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.types import DateTime, TypeDecorator

__all__ = ['ID_LENGTH', 'METADATA', 'SCHEDULE', 'TASKS', 'UtcDateTime']

#: Characters that Celery's own tables give a task's id.
ID_LENGTH = 155

METADATA = MetaData()


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
    METADATA,
    Column('task_id', String(ID_LENGTH), primary_key=True),
    Column('name', Text, nullable=False),
    # The routing key of the message, which is the name of the queue.
    Column('queue', Text),
    # Celery's representations, truncated.
    Column('args', Text),
    Column('kwargs', Text),
    # The highest seen.
    Column('retries', Integer, nullable=False),
    # The attempts before it, from the message: ``data`` and ``timestamp`` of Sentry's breadcrumbs.
    Column('earlier_attempts', JSON(none_as_null=True)),
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

SCHEDULE = Table(
    'schedule',
    METADATA,
    Column('name', String(255), primary_key=True),
    # The last due time of an interval; for other schedules, when it was last sent or skipped.
    Column('last_run_at', UtcDateTime, nullable=False),
)
