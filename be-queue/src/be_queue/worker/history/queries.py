"""Reads the history for the dashboard and the command: lists of tasks, and one by its id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

from celery import Celery
from sqlalchemy import Connection, Engine, Select, func, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from be_queue import SettingError
from be_queue.worker.history.database import engine_of
from be_queue.worker.history.hour import LastHour, Minute
from be_queue.worker.history.migrate import fault
from be_queue.worker.history.pages import Filter, Page, is_started, page
from be_queue.worker.history.tables import TASKS
from be_queue.worker.history.task import Attempt, Rows, Task

__all__ = ['Attempt', 'Filter', 'History', 'Minute', 'Page', 'Task', 'Worker']

#: SQS hides a message for 12 hours at most: then the task runs elsewhere.
LONGEST_RUN = timedelta(hours=12)
#: Each query follows indexes to a few rows. Were PostgreSQL to expect more, as it does of short
#: spans of time, it would read all the millions instead.
BY_INDEX = '; '.join(
    f'SET LOCAL enable_{plan} = off' for plan in ('seqscan', 'hashjoin', 'mergejoin')
)


@dataclass(frozen=True)
class Worker:
    """A worker that runs tasks now.

    Arguments:
        name: as Celery names it.
        busy: tasks that it runs.
        oldest_start: when the first of them began.
    """

    name: str
    busy: int
    oldest_start: datetime | None


class History:
    """Reads the history of an app.

    The methods raise `SettingError` for a result backend that keeps no history, and for tables that
    `be-queue migrate` has not made yet; else what SQLAlchemy raises.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._last_hour = LastHour()

    @cached_property
    def engine(self) -> Engine:
        """As `engine_of`, which may raise `SettingError`."""
        return engine_of(self._app)

    def page(self, chosen: Filter | None = None, after: str | None = None, count: int = 50) -> Page:
        """Return up to ``count`` tasks after those of an earlier `Page`.

        The order is that of sending, the latest first, then of the ids. It is that of the first
        stored state instead, the latest first, for STARTED, RETRY, FAILURE and REVOKED without
        ``until``, for SUCCESS alone or with ``since``, and for all tasks while no monitor has
        written any: only there are tasks that no monitor has seen. New tasks come before a page,
        never into it.

        A page looks at some thousands of rows at most, so that none is slow: it may have less than
        ``count`` tasks, or none at all, and still a ``next``.

        Raises ValueError for an ``after`` that no page gave.
        """
        with self._reading() as connection:
            return page(connection, self._rows, chosen or Filter(), after, count)

    def find(self, task_id: str) -> Task | None:
        """Return a task with its traceback; None when nothing is known of it."""
        for by_result in (False, True):
            ids = self._rows.results.c if by_result else TASKS.c
            query = self._rows.select(by_result=by_result, traceback=True)
            if found := self._tasks(query.where(ids.task_id == task_id)):
                return found[0]
        return None

    def children(self, task_id: str, count: int = 50) -> list[Task]:
        """Return tasks that a task has sent, the latest first."""
        # The message of a retry names its own task as the parent.
        is_child = (TASKS.c.parent_id == task_id) & (TASKS.c.task_id != task_id)
        query = self._rows.select().where(is_child)
        return self._tasks(query.order_by(TASKS.c.sent_at.desc()).limit(count))

    def last_hour(self) -> list[Minute]:
        """Return the last 60 minutes, the oldest first; the current one is the last.

        Minutes that are over are counted once. Of a busy hour, the first calls count a part each.
        """
        with self._reading() as connection:
            return self._last_hour.minutes(connection, self._rows)

    def workers(self) -> list[Worker]:
        """Return the workers that run tasks now, by their names.

        A task that began more than 12 hours ago is left out: its worker was killed.
        """
        name = func.coalesce(self._rows.results.c.worker, '')
        earliest = datetime.now(timezone.utc).replace(tzinfo=None) - LONGEST_RUN
        query = (
            select(name, func.count(), func.min(self._rows.started_at))
            .select_from(self._rows.results)
            .where(*is_started(self._rows), self._rows.began >= earliest)
            .group_by(name)
            .order_by(name)
        )
        with self._reading() as connection:
            return [Worker(*row) for row in connection.execute(query)]

    @cached_property
    def _rows(self) -> Rows:
        assert self.engine  # other backends have no tables
        return Rows(self._app.backend)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                if connection.dialect.name == 'postgresql':
                    connection.exec_driver_sql(BY_INDEX)
                yield connection
        except (OperationalError, ProgrammingError) as error:
            # SQLite has one kind of error for all.
            lacks_table = isinstance(error, ProgrammingError) or 'no such' in str(error)
            if lacks_table and (why := fault(self._app)):
                raise SettingError(why) from None
            raise

    def _tasks(self, query: Select[Any]) -> list[Task]:
        with self._reading() as connection:
            return [self._rows.task(row) for row in connection.execute(query)]
