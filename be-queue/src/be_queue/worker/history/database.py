"""The database of an app's history, and how the monitor writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from operator import itemgetter
from typing import Any

from celery import Celery
from sqlalchemy import Connection, Engine, case, create_engine
from sqlalchemy.exc import ArgumentError

from be_queue import SettingError
from be_queue.database import INSERTS
from be_queue.redact import redact
from be_queue.worker.history.tables import TASKS

__all__ = ['engine_of', 'save', 'transaction']


def engine_of(app: Celery) -> Engine:
    """Return a new engine for an app's result database.

    Raises `SettingError` for a result backend that is not a database which keeps a history.
    """
    conf = app.conf
    try:
        url = conf.result_backend.removeprefix('db+')
        engine = create_engine(url, hide_parameters=True, **(conf.database_engine_options or {}))
        INSERTS[engine.dialect.name]
    except (ArgumentError, ImportError, KeyError) as error:
        raise SettingError(
            f'result_backend={redact(conf.result_backend)!r}: the table of tasks needs '
            f'db+postgresql+psycopg://... or db+sqlite:///... ({error})'
        ) from None
    return engine


@contextmanager
def transaction(app: Celery) -> Iterator[Connection]:
    """Yield a connection of its own to the result database of an app; commit at the end.

    Raises as `engine_of`, and what SQLAlchemy raises.
    """
    engine = engine_of(app)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def save(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert or update rows of `TASKS`, all or none. Raises what SQLAlchemy raises."""
    # In one order: two monitors that have the same rows must not wait for each other.
    rows = sorted(rows, key=itemgetter('task_id'))
    with engine.begin() as connection:
        connection.execute(_upsert(engine.dialect.name), rows)


@cache
def _upsert(dialect: str) -> Any:
    insert = INSERTS[dialect](TASKS)
    old, new = TASKS.c, insert.excluded
    # Messages come twice and in any order: an older attempt must not undo a newer one.
    latest = {c.name: case((new.retries >= old.retries, new[c.name]), else_=c) for c in old}
    first_sent = case((new.sent_at < old.sent_at, new.sent_at), else_=old.sent_at)
    return insert.on_conflict_do_update(
        index_elements=[old.task_id],
        set_=latest | {'sent_at': first_sent, 'seen_at': new.seen_at},
    )
