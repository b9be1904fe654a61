"""A task as the dashboard and the command show it, and how it is read from its two rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from celery import states
from celery.utils.saferepr import saferepr
from sqlalchemy import (
    DateTime,
    Row,
    Select,
    Table,
    case,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.sql.elements import ColumnElement

from be_queue.redact import redact, redact_repr
from be_queue.text import shortened
from be_queue.worker.history.tables import TASKS, UtcDateTime

__all__ = ['Attempt', 'Rows', 'Task']

#: Bytes of a stored result that are worth decoding, and characters of it that a list shows.
MAX_RESULT = 20_000
SHOWN = 200


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


class Rows:
    """Selects rows of tasks joined to those of results, and makes a `Task` of each.

    Arguments:
        backend: Celery's, for databases.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        table: Table = backend.task_cls.__table__
        self.results = table.alias('results')
        #: A column that Celery does not know.
        self.began: ColumnElement[Any] = literal_column('results.started_at', DateTime)
        # The tables have them in UTC without a zone.
        self.started_at = type_coerce(self.began, UtcDateTime)
        self.ended_at = type_coerce(self.results.c.date_done, UtcDateTime)

    def select(self, *, by_result: bool = False, traceback: bool = False) -> Select[Any]:
        """Select every task, with or without a result; or every result, with or without a task."""
        r, t = self.results.c, TASKS.c
        sides = (self.results, TASKS) if by_result else (TASKS, self.results)
        is_short = func.length(r.result) <= MAX_RESULT
        columns: dict[str, Any] = {
            'id': func.coalesce(t.task_id, r.task_id),
            'task': func.coalesce(t.name, r.name),
            'on': func.coalesce(t.queue, r.queue),
            'state': func.coalesce(r.status, states.PENDING),
            'run_retries': r.retries,
            'worker': r.worker,
            'size': func.length(r.result),
            'stored': case((is_short, r.result)),
            'started_at': self.started_at,
            'ended_at': self.ended_at,
            'result_id': r.id,
        }
        if traceback:
            columns['traceback'] = r.traceback
        sent = (t.retries, t.sent_at, t.eta, t.args, t.kwargs, t.earlier_attempts)
        named = [column.label(name) for name, column in columns.items()]
        joined = sides[0].outerjoin(sides[1], t.task_id == r.task_id)
        return select(*sent, t.parent_id, t.root_id, *named).select_from(joined)

    def task(self, row: Row[Any]) -> Task:
        """Return the task of a selected row, with its secrets masked."""
        ended = row.state in states.READY_STATES
        due = None if ended else row.eta
        return Task(
            id=row.id,
            name=str(redact(row.task or '')),
            queue=row.on or '',
            state=row.state,
            attempt=max(row.retries or 0, row.run_retries or 0) + 1,
            sent_at=row.sent_at,
            started_at=row.started_at,
            ended_at=row.ended_at if ended else None,
            due_at=due if due and due > datetime.now(timezone.utc) else None,
            args=redact_repr(row.args or ''),
            kwargs=redact_repr(row.kwargs or ''),
            result=self._result(row),
            worker=row.worker or '',
            traceback=str(redact(getattr(row, 'traceback', None) or '')),
            parent_id=row.parent_id,
            root_id=row.root_id,
            earlier_attempts=tuple(_attempts(row.earlier_attempts)),
        )

    def _result(self, row: Row[Any]) -> str:
        # While a task runs, its process is stored in place of a result.
        if row.size is None or row.state not in states.READY_STATES | {states.RETRY}:
            return ''
        if row.stored is None:
            return f'{row.size:,} bytes'
        try:
            value = self._backend.decode(row.stored)
        except Exception as error:  # noqa: BLE001  (whatever the serializer raises)
            return f'cannot be decoded: {type(error).__name__}'
        if row.state in states.EXCEPTION_STATES and isinstance(value, dict):
            message = value.get('exc_message') or ()
            parts = message if isinstance(message, (list, tuple)) else [message]
            text = f'{value.get("exc_type")}: {", ".join(map(str, parts))}'
            return shortened(str(redact(text)), SHOWN)
        return str(redact(saferepr(redact(value), maxlen=SHOWN)))


def _attempts(breadcrumbs: Any) -> Iterator[Attempt]:
    """Yield the attempts that a message names; anybody may have written it."""
    for each in breadcrumbs or ():
        try:
            data, ended_at = each['data'], datetime.fromisoformat(each['timestamp'])
            yield Attempt(int(data['attempt']), str(data['exception']), ended_at)
        except (KeyError, TypeError, ValueError):
            continue
