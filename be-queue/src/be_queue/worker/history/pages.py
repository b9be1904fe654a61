"""Lists of tasks, page by page. No page is slow, whatever its filter: it looks at so many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from celery import states
from sqlalchemy import Connection, DateTime, Select, and_, func, literal, or_, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from be_queue.database import without_zone
from be_queue.worker.history.tables import TASKS, UtcDateTime
from be_queue.worker.history.task import Rows, Task

__all__ = ['Filter', 'Page', 'is_started', 'page', 'position']

#: Tasks that one page looks at, at most, each with its result: 25 microseconds apiece.
TASKS_WALKED = 1_000
#: Results that it looks at instead, without their tasks: 5 microseconds apiece.
RESULTS_WALKED = 5_000
#: An index holds the results of these states alone, so that a success costs nothing.
RARE = {states.FAILURE, states.RETRY, states.REVOKED}
#: By how much clocks differ, and a result may be stored after its end.
LATE = timedelta(minutes=5)

Conditions = list[ColumnElement[bool]]


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


@dataclass
class _Walk:
    """An index to go along, from the latest on.

    Arguments:
        query: selects rows of tasks.
        key: the columns of the order.
        most: rows to look at.
        indexed, others: what the index finds, and what shows only in each row.
    """

    query: Select[Any]
    key: Sequence[ColumnElement[Any]]
    most: int
    indexed: Conditions = field(default_factory=list)
    others: Conditions = field(default_factory=list)


def page(connection: Connection, rows: Rows, chosen: Filter, after: str | None, count: int) -> Page:
    """As `History.page`."""
    if after:
        by_result = after.isdigit()
    elif not chosen.until and (
        chosen.state in RARE | {states.STARTED}
        or (chosen.state == states.SUCCESS and not (chosen.name or chosen.queue))
    ):
        by_result = True
    else:
        any_task = select(TASKS.c.sent_at).order_by(TASKS.c.sent_at.desc()).limit(1)
        by_result = connection.scalar(any_task) is None
    walk = _results(connection, rows, chosen) if by_result else _tasks(rows, chosen)
    first, indexed, last = walk.key[0], list(walk.indexed), None
    if after:
        values = position(after)
        indexed.append(tuple_(*walk.key) < tuple_(*values))
        # For the index alone, without the rows.
        walk.indexed.append(first <= values[0] if after[-1] != ' ' else first < values[0])
    if walk.others:
        firsts = select(first).where(*walk.indexed).order_by(first.desc())
        last = connection.scalar(firsts.offset(walk.most - 1).limit(1))
        if last is not None:
            indexed.append(first >= literal(last, first.type))
    query = walk.query.where(*indexed, *walk.others).limit(count + 1)
    found = connection.execute(query.order_by(*(column.desc() for column in walk.key))).all()
    tasks = [rows.task(row) for row in found[:count]]
    if len(found) > count:
        row = found[count - 1]
        key = str(row.result_id) if by_result else f'{row.sent_at.isoformat()} {row.id}'
    elif last is not None:
        key = str(last) if by_result else f'{last.isoformat()} '
    else:
        return Page(tasks, None)
    return Page(tasks, key)


def is_started(rows: Rows) -> Conditions:
    """Return conditions that Celery's index of ends finds: only a running task has none."""
    r = rows.results.c
    return [r.status == states.STARTED, r.date_done.is_(None)]


def position(after: str) -> list[ColumnElement[Any]]:
    """Return the key of the row before a page. Raises ValueError for what no page gave."""
    if after.isdigit():
        return [literal(int(after))]
    moment, _, task_id = after.partition(' ')
    return [literal(datetime.fromisoformat(moment), UtcDateTime), literal(task_id)]


def _tasks(rows: Rows, chosen: Filter) -> _Walk:
    t = TASKS.c
    walk = _Walk(rows.select(), (t.sent_at, t.task_id), TASKS_WALKED)
    if chosen.name:
        walk.indexed.append(t.name == chosen.name)
    if chosen.queue:
        (walk.others if chosen.name else walk.indexed).append(t.queue == chosen.queue)
    if chosen.since:
        walk.indexed.append(t.sent_at >= chosen.since)
    if chosen.until:
        walk.indexed.append(t.sent_at < chosen.until)
    status = rows.results.c.status
    if chosen.state == states.SUCCESS:
        walk.others.append(status == chosen.state)
    elif chosen.state:
        # Not the other way round: from all results of the state to their tasks.
        walk.others.append(func.coalesce(status, states.PENDING) == chosen.state)
    return walk


def _results(connection: Connection, rows: Rows, chosen: Filter) -> _Walk:
    """Return a walk along the ids of results, which are in the order of their first state."""
    sent_at, r = TASKS.c.sent_at, rows.results.c
    walk = _Walk(rows.select(by_result=True), (r.id,), RESULTS_WALKED)
    if chosen.state in RARE:
        # The literal itself: a prepared statement could not take an index of some states.
        walk.indexed.append(r.status == literal(chosen.state, literal_execute=True))
    elif chosen.state == states.STARTED:
        walk.indexed += is_started(rows)
        walk.key = (r.id + 0,)  # sorted, since few: PostgreSQL might look for them along the ids
    elif chosen.state:
        walk.others.append(r.status == chosen.state)
    if chosen.name:
        walk.others.append(r.name == chosen.name)
    if chosen.queue:
        walk.others.append(r.queue == chosen.queue)
    # Without a task, the first known time of the run; UTC without a zone.
    began = func.coalesce(rows.began, r.date_done)
    if chosen.since:
        naive = without_zone(chosen.since)
        alone = and_(sent_at.is_(None), began >= literal(naive, DateTime))
        walk.others.append(or_(sent_at >= chosen.since, alone))
        # Ids are in the order of the first state: up to this one, all tasks were sent before.
        before = select(r.id).where(r.date_done < naive - LATE).order_by(r.date_done.desc())
        if (result_id := connection.scalar(before.limit(1))) is not None:
            walk.indexed.append(r.id > result_id)
    if chosen.until:
        alone = and_(sent_at.is_(None), began < literal(without_zone(chosen.until), DateTime))
        walk.others.append(or_(sent_at < chosen.until, alone))
    return walk
