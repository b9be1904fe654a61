"""The request of a task that fails around its body, when Celery has taken it off its stack.

Such as when the next step of a chain cannot be sent. Celery stores, reports and logs that failure
last of all: ``task.request`` is empty by then.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Task, signals
from celery.app.task import Context

__all__ = ['task_and_request']

_last: tuple[Task, Context] | None = None


@signals.task_postrun.connect
def _ended(task: Task, **_: Any) -> None:
    global _last
    # Celery sends the signal from a ``finally``.
    _last = (task, task.request) if sys.exc_info()[1] is not None else None


def task_and_request(task_id: object) -> tuple[Task, Context] | None:
    """Return the task and its request if it is the last that this process ran, and so it failed."""
    return _last if _last is not None and _last[1].id == task_id else None
