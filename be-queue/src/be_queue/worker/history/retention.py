"""Deletes old tasks from the history, a few at a time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sqlalchemy import Engine, delete, or_, select

from be_queue.worker.history.tables import TASKS

__all__ = ['PRUNED_AT_ONCE', 'prune']

#: Rows of one statement: PostgreSQL deletes them in some ten milliseconds.
PRUNED_AT_ONCE = 2000


def prune(engine: Engine, age: timedelta) -> int:
    """Delete up to `PRUNED_AT_ONCE` tasks of at least this age; return how many there were.

    The age counts from the last message of a task, and from its ``eta``. Raises what SQLAlchemy
    raises.
    """
    t, limit = TASKS.c, datetime.now(timezone.utc) - age
    is_over = or_(t.eta.is_(None), t.eta < limit)
    old = select(t.task_id).where(t.sent_at < limit, t.seen_at < limit, is_over)
    # Another monitor may prune at the same time.
    chosen = old.order_by(t.sent_at).limit(PRUNED_AT_ONCE).with_for_update(skip_locked=True)
    with engine.begin() as connection:
        ids = connection.scalars(chosen).all()
        connection.execute(delete(TASKS).where(t.task_id.in_(ids)))
    return len(ids)
