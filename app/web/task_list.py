"""The latest tasks, from the monitor's table and Celery's table of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from celery import Celery, states
from celery.utils.saferepr import saferepr
from sqlalchemy import Connection, Engine, Row, Select, Table, case, func, inspect, null, select

from app.monitor.table import TASKS, open_engine
from be_queue.redact import redact

__all__ = ['LENGTH', 'TaskLine', 'TaskListProbe']

#: Tasks in the list.
LENGTH = 20
#: Bytes of a stored result that are worth decoding, and characters of it that are shown.
MAX_RESULT = 20_000
SHOWN = 200


@dataclass(frozen=True)
class TaskLine:
    """A task.

    Arguments:
        attempt: 1 for the first.
        result: the value or the error, cut; '' before there is one.
        sent, done: None when not known, or not yet.
        due: when the next attempt is to start, if it must wait for that.
    """

    id: str
    name: str
    state: str
    attempt: int
    result: str
    sent: datetime | None
    done: datetime | None
    due: datetime | None


class TaskListProbe:
    """Reads the latest tasks and keeps them; raises what goes wrong.

    Arguments:
        celery_app: leads to the result database.
    """

    def __init__(self, celery_app: Celery) -> None:
        self._app = celery_app
        self._engine: Engine | None = None
        self._backend: Any = None
        self.tasks: Sequence[TaskLine] = ()

    def __call__(self) -> None:
        if self._engine is None:
            conf = self._app.conf
            self._engine = open_engine(conf.result_backend, conf.database_engine_options)
            self._backend = self._app.backend
        with self._engine.connect() as connection:
            query = _latest(connection, self._backend.task_cls.__table__)
            rows = connection.execute(query).all() if query is not None else []
        self.tasks = [self._line(row) for row in rows]

    def _line(self, row: Row[Any]) -> TaskLine:
        state = row.state or states.PENDING
        ended = state in states.READY_STATES
        return TaskLine(
            id=row.task_id,
            name=str(redact(row.name or row.run_name or '')),
            state=state,
            attempt=max(row.sent_retries or 0, row.run_retries or 0) + 1,
            result=self._result(row, state),
            sent=row.sent,
            # Celery keeps it in UTC without a zone.
            done=row.done.replace(tzinfo=timezone.utc) if ended and row.done else None,
            due=None if ended or not row.eta or row.eta < datetime.now(timezone.utc) else row.eta,
        )

    def _result(self, row: Row[Any], state: str) -> str:
        # While a task runs, its process is stored in place of a result.
        if row.size is None or state not in states.READY_STATES | {states.RETRY}:
            return ''
        if row.result is None:
            return f'{row.size:,} bytes'
        try:
            value = self._backend.decode(row.result)
        except Exception as error:  # noqa: BLE001  (whatever the serializer raises)
            return f'cannot be decoded: {type(error).__name__}'
        text = _error(value) if state in states.EXCEPTION_STATES else _short(redact(value))
        return str(redact(text))


def _latest(connection: Connection, results: Table) -> Select[Any] | None:
    """Return the query for the tables that are there; None when there are none yet."""
    tables, r, t = inspect(connection), results.c, TASKS.c
    outcome = [
        r.status.label('state'),
        # These two are missing without Celery's result_extended.
        r.get('name', null()).label('run_name'),
        r.get('retries', null()).label('run_retries'),
        func.length(r.result).label('size'),
        case((func.length(r.result) <= MAX_RESULT, r.result)).label('result'),
        r.date_done.label('done'),
    ]
    has_results = tables.has_table(results.name, schema=results.schema)
    if tables.has_table(TASKS.name):
        task = [
            t.task_id,
            t.name,
            t.eta,
            t.retries.label('sent_retries'),
            t.sent_at.label('sent'),
        ]
        if not has_results:
            outcome = [null().label(column.name) for column in outcome]
        source = TASKS.outerjoin(results, t.task_id == r.task_id) if has_results else TASKS
        newest = t.sent_at
    elif has_results:
        unknown = [null().label(name) for name in ('name', 'eta', 'sent_retries', 'sent')]
        task, source, newest = [r.task_id, *unknown], results, r.date_done
    else:
        return None
    return select(*task, *outcome).select_from(source).order_by(newest.desc()).limit(LENGTH)


def _short(value: object) -> str:
    text: str = saferepr(value, maxlen=SHOWN)
    return text


def _error(value: Any) -> str:
    if isinstance(value, dict) and 'exc_type' in value:
        message = value.get('exc_message')
        parts = message if isinstance(message, (list, tuple)) else [message]
        text = f'{value["exc_type"]}: {", ".join(str(part) for part in parts)}'
    else:
        text = str(value)
    return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'
