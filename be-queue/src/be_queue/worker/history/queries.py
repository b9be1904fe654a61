"""What the dashboard and the command read of the history: lists of tasks, and one by its id."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

from celery import Celery, states
from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Row,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.sql.elements import ColumnElement

from be_queue import SettingError
from be_queue.worker.history.database import engine_of
from be_queue.worker.history.hour import LastHour, Minute
from be_queue.worker.history.migrate import fault
from be_queue.worker.history.tables import TASKS, UtcDateTime
from be_queue.worker.history.task import Attempt, Rows, Task

__all__ = ['Attempt', 'Filter', 'History', 'Minute', 'Page', 'Task', 'Worker']

#: Rows of the best index that one page looks at, at most.
WALKED = 10_000
#: SQS hides a message for 12 hours at most: then the task runs elsewhere.
LONGEST_RUN = timedelta(hours=12)
#: An index holds the results of these states alone.
RARE = states.ALL_STATES - {states.SUCCESS, states.PENDING}


@dataclass(frozen=True)
class Filter:
    """Which tasks a list shows; what is empty does not matter.

    Arguments:
        state: one of Celery's; ``PENDING`` for tasks without a stored state.
        name, queue: whole names, of the task and of its queue on SQS.
        since, until: bounds of when it was sent, the second one excluded.
    """

    state: str = ''
    name: str = ''
    queue: str = ''
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """A part of a list.

    Arguments:
        tasks: the latest first.
        next: for `History.page`, to go on after these; None at the end.
    """

    tasks: list[Task]
    next: str | None


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

        The order is that of sending, the latest first, then of the ids. Tasks of a state that few
        are in (all but PENDING and SUCCESS), without bounds of time, and all tasks while no monitor
        has written any, are in the order of their first stored state instead, the latest first:
        only there are tasks that no monitor has seen. New tasks come before a page, never into it.

        A page looks at 10,000 rows at most, so that none is slow. Then it has less than ``count``
        tasks, or none at all, and still a ``next``.

        Raises ValueError for an ``after`` that no page gave.
        """
        chosen = chosen or Filter()
        with self._reading() as connection:
            by_result = after.isdigit() if after else self._by_result(connection, chosen)
            query, key, indexed, others = (
                self._results_of(chosen) if by_result else self._tasks_of(chosen)
            )
            if after:
                indexed.append(tuple_(*key) < tuple_(*_values(after)))
            last = None
            if others:
                walk = select(key[0]).where(*indexed).order_by(key[0].desc())
                last = connection.scalar(walk.offset(WALKED - 1).limit(1))
                if last is not None:
                    indexed.append(key[0] >= literal(last, key[0].type))
            latest_first = [column.desc() for column in key]
            found = query.where(*indexed, *others).order_by(*latest_first).limit(count + 1)
            rows = connection.execute(found).all()
        tasks = [self._rows.task(row) for row in rows[:count]]
        if len(rows) > count:
            return Page(tasks, _key(rows[count - 1], by_result))
        if last is None:
            return Page(tasks, None)
        return Page(tasks, str(last) if by_result else f'{last.isoformat()} ')

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
        r = self._rows.results.c
        earliest = datetime.now(timezone.utc).replace(tzinfo=None) - LONGEST_RUN
        started = (
            select(func.coalesce(r.worker, '').label('name'), self._rows.started_at.label('began'))
            .select_from(self._rows.results)
            .where(*_is_rare(r.status, states.STARTED), self._rows.began >= earliest)
            .order_by(r.id.desc())
            .limit(WALKED)
            .subquery()
        )
        name, began = started.c
        query = select(name, func.count(), func.min(began)).group_by(name).order_by(name)
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

    def _by_result(self, connection: Connection, chosen: Filter) -> bool:
        if chosen.state in RARE and not (chosen.since or chosen.until):
            return True
        return connection.scalar(select(TASKS.c.task_id).limit(1)) is None

    def _tasks_of(self, chosen: Filter) -> Any:
        """Return a query, the columns of its order, what an index finds, and what it does not."""
        t, r = TASKS.c, self._rows.results.c
        indexed: list[ColumnElement[bool]] = []
        others: list[ColumnElement[bool]] = []
        if chosen.name:
            indexed.append(t.name == chosen.name)
        if chosen.queue:
            (others if chosen.name else indexed).append(t.queue == chosen.queue)
        if chosen.since:
            indexed.append(t.sent_at >= chosen.since)
        if chosen.until:
            indexed.append(t.sent_at < chosen.until)
        if chosen.state:
            others.append(func.coalesce(r.status, states.PENDING) == chosen.state)
        return self._rows.select(), (t.sent_at, t.task_id), indexed, others

    def _results_of(self, chosen: Filter) -> Any:
        """Return the same of stored results, which may have no task."""
        t, r = TASKS.c, self._rows.results.c
        indexed: list[ColumnElement[bool]] = []
        others: list[ColumnElement[bool]] = []
        if chosen.state in RARE:
            indexed += _is_rare(r.status, chosen.state)
        elif chosen.state:
            others.append(r.status == chosen.state)
        if chosen.name:
            others.append(func.coalesce(t.name, r.name) == chosen.name)
        if chosen.queue:
            others.append(func.coalesce(t.queue, r.queue) == chosen.queue)
        # Without a task, its first start is the nearest that is known; UTC without a zone.
        began = func.coalesce(self._rows.began, r.date_done)
        for moment, compare in ((chosen.since, operator.ge), (chosen.until, operator.lt)):
            if moment:
                naive = literal(moment.astimezone(timezone.utc).replace(tzinfo=None), DateTime)
                alone = and_(t.sent_at.is_(None), compare(began, naive))
                others.append(or_(compare(t.sent_at, moment), alone))
        return self._rows.select(by_result=True), (r.id,), indexed, others


def _is_rare(status: ColumnElement[str], state: str) -> list[ColumnElement[bool]]:
    """Return conditions in which each database finds the one of the index."""
    not_rare = literal(states.SUCCESS, literal_execute=True)
    return [status == literal(state, literal_execute=True), status != not_rare]


def _key(row: Row[Any], by_result: bool) -> str:
    return str(row.result_id) if by_result else f'{row.sent_at.isoformat()} {row.id}'


def _values(after: str) -> list[ColumnElement[Any]]:
    if after.isdigit():
        return [literal(int(after))]
    moment, _, task_id = after.partition(' ')
    return [literal(datetime.fromisoformat(moment), UtcDateTime), literal(task_id)]
