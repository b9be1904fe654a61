"""Celery's database backend: fails at once when the database is unavailable, keeps times in UTC.

`Config` puts it in the place of Celery's own, for producers and workers.

Celery's columns of times have no time zone and its times have one, so PostgreSQL would convert them
to the session's zone. To set the session's zone takes a startup parameter, which PgBouncer and RDS
Proxy refuse, so the times lose their zone here.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from celery.backends import database
from celery.backends.database import session
from celery.backends.database.models import TaskSet
from sqlalchemy import Engine, String, delete, event
from sqlalchemy.exc import DataError

from be_queue.text import storable

__all__ = ['DatabaseBackend']


@event.listens_for(TaskSet, 'before_insert')
def _date_group(mapper: Any, connection: Any, group: TaskSet) -> None:
    group.date_done = _without_zone(datetime.now(timezone.utc))


class SessionManager(session.SessionManager):
    """Celery's, which tries ten times to make its tables, also while nothing answers."""

    def prepare_models(self, engine: Engine) -> None:
        if not self.prepared:
            engine.connect().close()
        super().prepare_models(engine)


class DatabaseBackend(database.DatabaseBackend):
    """Celery's own, with the differences that this module names."""

    #: Errors of values that the database can never store, such as an id that is too long.
    refusals = (DataError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        callback = self.session_manager.engine_callback
        self.session_manager: Any = SessionManager(callback)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        return not isinstance(exc, self.refusals) and bool(super().exception_safe_to_retry(exc))

    def _update_result(self, task: Any, *args: Any, **kwargs: Any) -> None:
        super()._update_result(task, *args, **kwargs)
        task.date_done = task.date_done and _without_zone(task.date_done)
        for name, length in self._texts:
            text = getattr(task, name)
            if isinstance(text, str):
                # For a row that is refused, Celery would store another failure instead.
                setattr(task, name, storable(text)[:length])

    def _cleanup(self) -> None:
        expired = _without_zone(datetime.now(timezone.utc) - self.expires)
        with self.ResultSession() as session:
            for rows in (self.task_cls, self.taskset_cls):
                session.execute(delete(rows).where(rows.date_done < expired))
            session.commit()

    @cached_property
    def _texts(self) -> list[tuple[str, int | None]]:
        """The columns of text but for the key, with how many characters each takes."""
        return [
            (column.name, column.type.length)
            for column in self.task_cls.__table__.columns
            if isinstance(column.type, String) and column.name != 'task_id'
        ]


def _without_zone(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None)
