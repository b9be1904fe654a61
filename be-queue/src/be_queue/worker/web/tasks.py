"""Reads the tables of tasks: the monitor's, and Celery's results beside it. Nothing else does."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from celery import Celery, states
from celery.utils.saferepr import saferepr
from sqlalchemy import Connection, Engine, Row, Select, case, func, inspect, null, select

from be_queue.redact import redact
from be_queue.text import shortened
from be_queue.worker.task_table import TASKS, open_engine

__all__ = ['TaskTables']

#: Bytes of a stored result that are worth decoding, and characters of it that are shown.
MAX_RESULT = 20_000
SHOWN = 200


class TaskTables:
    """Reads from the result database; raises what SQLAlchemy raises."""

    def __init__(self, celery_app: Celery) -> None:
        self._app = celery_app

    def latest(self, count: int) -> list[dict[str, Any]]:
        """Return so many tasks, the latest first, as the page shows them."""
        with self._engine.connect() as connection:
            query = self._select(connection)
            rows = [] if query is None else connection.execute(query.limit(count)).all()
        return [self._shown(row) for row in rows]

    @cached_property
    def _engine(self) -> Engine:
        conf = self._app.conf
        return open_engine(conf.result_backend, conf.database_engine_options)

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
