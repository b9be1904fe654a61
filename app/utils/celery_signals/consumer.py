"""Signals of the consuming process: what it receives, and what no child can report any more."""

from __future__ import annotations

import time
from typing import Any

from billiard import current_process
from celery import Task, signals, states

from app.utils.celery_signals.labels import UNKNOWN, labels
from app.utils.metrics.metrics import CONSUMER_TASKS

# Header under which the time of receipt, by the system-wide monotonic clock, reaches the child.
RECEIVED_AT = 'received_at'
# Celery reports a task that ran into its hard time limit twice in a row.
_last_failed = ''


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    headers = request.request_dict
    headers[RECEIVED_AT] = time.monotonic()
    _count(labels(headers['task'], headers['delivery_info']), states.RECEIVED)


@signals.task_revoked.connect
def _revoked(request: Any, **_: Any) -> None:
    _count(labels(request.task, request.delivery_info), states.REVOKED)


@signals.task_unknown.connect
def _unknown(message: Any, **_: Any) -> None:
    _count(labels(UNKNOWN, message.delivery_info), states.REJECTED)


@signals.task_rejected.connect
def _rejected(message: Any, **_: Any) -> None:
    _count(labels(UNKNOWN, message.delivery_info), states.REJECTED)


@signals.task_failure.connect
def _failure(sender: Task, task_id: str, **_: Any) -> None:
    global _last_failed
    # A child counts its own failures. The parent has this signal for a child that was lost or
    # killed at its time limit.
    if current_process().name == 'MainProcess' and task_id != _last_failed:
        _last_failed = task_id
        _count(labels(sender.name, sender.request.delivery_info), states.FAILURE)


def _count(task: dict[str, str], state: str) -> None:
    CONSUMER_TASKS.labels(state=state, **task).inc()
