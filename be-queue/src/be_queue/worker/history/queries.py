"""What the dashboard and the command read of the history: lists of tasks, and one by its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from celery import Celery, states
from celery.utils.saferepr import saferepr
from sqlalchemy import (
    Engine,
    Row,
    Select,
    Table,
    case,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)

from be_queue.redact import redact, redact_repr
from be_queue.text import shortened
from be_queue.worker.history.database import engine_of
from be_queue.worker.history.tables import TASKS, UtcDateTime

__all__ = ['Attempt', 'Filter', 'History', 'Minute', 'Page', 'Task', 'Worker']

#: Bytes of a stored result that are worth decoding, and characters of it that a list shows.
MAX_RESULT = 20_000
SHOWN = 200


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
class Attempt:
    """An attempt that failed and was retried.

    Arguments:
        number: from 1.
        exception: the name of its class.
        ended_at: when the retry was sent.
    """

    number: int
    exception: str
    ended_at: datetime | None


@dataclass(frozen=True)
class Task:
    """A task: its message, joined to its result. Secrets in its texts are masked.

    Arguments:
        state: one of Celery's.
        attempt: the number of the latest one, from 1.
        sent_at: when the first message was sent; None when no monitor has seen it.
        started_at: when the latest attempt began, if it has.
        ended_at: when it ended for good.
        due_at: when the next attempt is to start, if that is in the future.
        args, kwargs: Celery's representations, truncated.
        result: a short text; of a failure, the exception's class and text.
        traceback: only by `History.find`.
        worker: the name of the worker that ran it last.
    """

    id: str
    name: str
    queue: str
    state: str
    attempt: int
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    due_at: datetime | None
    args: str
    kwargs: str
    result: str
    worker: str = ''
    traceback: str = ''
    parent_id: str | None = None
    root_id: str | None = None
    earlier_attempts: Sequence[Attempt] = field(default_factory=tuple)

    @property
    def waited(self) -> float | None:
        """Seconds from the sending to the start of the latest attempt."""
        if self.sent_at is None or self.started_at is None:
            return None
        return (self.started_at - self.sent_at).total_seconds()

    @property
    def ran(self) -> float | None:
        """Seconds that the latest attempt took; None before its end."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


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
class Minute:
    """What ended in a minute.

    Arguments:
        start: its beginning.
        succeeded, failed: tasks that ended, `REVOKED` ones left out.
        waited, ran: seconds from the sending to the start, and from the start to the end; means of
            a sample, None when nothing ended.
    """

    start: datetime
    succeeded: int
    failed: int
    waited: float | None
    ran: float | None


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
    """Reads the history of an app; the methods raise what SQLAlchemy raises."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    @cached_property
    def engine(self) -> Engine:
        """As `engine_of`, which may raise `SettingError`."""
        return engine_of(self._app)

    def page(self, chosen: Filter | None = None, after: str | None = None, count: int = 50) -> Page:
        """Return up to ``count`` tasks after those of an earlier `Page`."""
        t, chosen = TASKS.c, chosen or Filter()
        query = self._select().order_by(t.sent_at.desc(), t.task_id.desc()).limit(count)
        if chosen.state:
            query = query.where(
                func.coalesce(self._results.c.status, states.PENDING) == chosen.state
            )
        if chosen.name:
            query = query.where(t.name == chosen.name)
        if chosen.queue:
            query = query.where(t.queue == chosen.queue)
        if chosen.since:
            query = query.where(t.sent_at >= chosen.since)
        if chosen.until:
            query = query.where(t.sent_at < chosen.until)
        if after:
            moment, _, task_id = after.partition(' ')
            key = tuple_(t.sent_at, t.task_id)
            last = tuple_(literal(datetime.fromisoformat(moment), UtcDateTime), literal(task_id))
            query = query.where(key < last)
        tasks = self._tasks(query)
        if len(tasks) < count or tasks[-1].sent_at is None:
            return Page(tasks, None)
        return Page(tasks, f'{tasks[-1].sent_at.isoformat()} {tasks[-1].id}')

    def find(self, task_id: str) -> Task | None:
        """Return a task with its traceback; None when nothing is known of it."""
        found = self._tasks(self._select().where(TASKS.c.task_id == task_id))
        return found[0] if found else None

    def children(self, task_id: str, count: int = 50) -> list[Task]:
        """Return tasks that a task has sent, the latest first."""
        # The message of a retry names its own task as the parent.
        is_child = (TASKS.c.parent_id == task_id) & (TASKS.c.task_id != task_id)
        query = self._select().where(is_child)
        return self._tasks(query.order_by(TASKS.c.sent_at.desc()).limit(count))

    def last_hour(self) -> list[Minute]:
        """Return the last 60 minutes, the oldest first; the current one is the last."""
        raise NotImplementedError

    def workers(self) -> list[Worker]:
        """Return the workers that run tasks now, by their names."""
        raise NotImplementedError

    @property
    def _results(self) -> Table:
        """Celery's table of results; raises as `engine`."""
        assert self.engine
        table: Table = self._app.backend.task_cls.__table__
        return table

    def _select(self) -> Select[Any]:
        results = self._results
        r = results.c
        started_at: Any = literal_column(f'{results.name}.started_at', UtcDateTime)
        stored = {
            'state': r.status,
            'run_retries': r.retries,
            'worker': r.worker,
            'size': func.length(r.result),
            'stored': case((func.length(r.result) <= MAX_RESULT, r.result)),
            'traceback': r.traceback,
            'started_at': started_at,
            'done': r.date_done,
        }
        columns = [column.label(name) for name, column in stored.items()]
        joined = TASKS.outerjoin(results, TASKS.c.task_id == r.task_id)
        return select(*TASKS.c, *columns).select_from(joined)

    def _tasks(self, query: Select[Any]) -> list[Task]:
        with self.engine.connect() as connection:
            return [self._task(row) for row in connection.execute(query)]

    def _task(self, row: Row[Any]) -> Task:
        state = row.state or states.PENDING
        ended = state in states.READY_STATES
        due = None if ended else row.eta
        return Task(
            id=row.task_id,
            name=str(redact(row.name)),
            queue=row.queue or '',
            state=state,
            attempt=max(row.retries or 0, row.run_retries or 0) + 1,
            sent_at=row.sent_at,
            started_at=row.started_at,
            # Celery keeps it in UTC without a zone.
            ended_at=row.done.replace(tzinfo=timezone.utc) if ended and row.done else None,
            due_at=due if due and due > datetime.now(timezone.utc) else None,
            args=redact_repr(row.args or ''),
            kwargs=redact_repr(row.kwargs or ''),
            result=self._result(row, state),
            worker=row.worker or '',
            traceback=str(redact(row.traceback or '')),
            parent_id=row.parent_id,
            root_id=row.root_id,
            earlier_attempts=[_attempt(each) for each in row.earlier_attempts or ()],
        )

    def _result(self, row: Row[Any], state: str) -> str:
        # While a task runs, its process is stored in place of a result.
        if row.size is None or state not in states.READY_STATES | {states.RETRY}:
            return ''
        if row.stored is None:
            return f'{row.size:,} bytes'
        try:
            value = self._app.backend.decode(row.stored)
        except Exception as error:  # noqa: BLE001  (whatever the serializer raises)
            return f'cannot be decoded: {type(error).__name__}'
        if state in states.EXCEPTION_STATES and isinstance(value, dict):
            message = value.get('exc_message') or ()
            parts = message if isinstance(message, (list, tuple)) else [message]
            text = f'{value.get("exc_type")}: {", ".join(map(str, parts))}'
            return shortened(str(redact(text)), SHOWN)
        return str(redact(saferepr(redact(value), maxlen=SHOWN)))


def _attempt(breadcrumb: dict[str, Any]) -> Attempt:
    data = breadcrumb['data']
    return Attempt(
        data['attempt'], data['exception'], datetime.fromisoformat(breadcrumb['timestamp'])
    )
