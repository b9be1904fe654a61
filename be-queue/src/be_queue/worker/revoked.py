"""Skips the message of a task that was revoked while it waited: SQS has no fanout to tell workers.

`be_queue.operations.revoke` stores the state, and a pool process finds it when it stores that the
task has started: a look-up that costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery import Task
from celery.app.task import Context
from celery.app.trace import trace_ok_t
from celery.utils.log import get_logger

from be_queue.worker import logs

__all__ = ['Revoked', 'skipping']

logger = get_logger(__name__)

Trace = Callable[..., Any]


class Revoked(BaseException):
    """The task that was to start is revoked. As an `Exception`, to Celery it would have failed."""


def skipping(task: Task, trace: Trace) -> Trace:
    """Return ``trace``, the function that runs the task, for tasks that may be revoked."""

    def traced(uuid: str, args: Any, kwargs: Any, request: Mapping[str, Any]) -> Any:
        try:
            return trace(uuid, args, kwargs, request)
        except Revoked:
            with logs.about(task, request):
                logger.info('skipped, it is revoked', extra={'action': 'revoked'})
            context = Context(request, args=args, kwargs=kwargs)
            # Once more, with what the message tells, and for the chord that waits for it.
            task.backend.mark_as_revoked(uuid, 'revoked', context)
            return trace_ok_t(None, None, None, None)  # nothing was returned, and in no time

    return traced
