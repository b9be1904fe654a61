"""Signals of the consuming process: what it receives, and what no child can report any more."""

from __future__ import annotations

import time
from typing import Any

from billiard import current_process
from celery import Task, current_app, signals, states
from celery.exceptions import Reject

from app.utils.celery_signals.labels import UNKNOWN, labelled, queue_of, routes
from app.utils.metrics.metrics import CONSUMER_TASKS, FAILED, FINISHED, RETRIED

# Header under which the time of receipt, by the system-wide monotonic clock, reaches the child.
RECEIVED_AT = 'received_at'
# Celery reports a task that ran into its hard time limit twice in a row.
_last_failed = ''


@signals.worker_init.connect
def _begin_at_zero(**_: Any) -> None:
    # Prometheus sees no increase in a series that begins with 1.
    consumed = current_app.amqp.queues.consume_from
    for task, route in routes().items():
        # And no pattern, such as celery.*
        if task in current_app.tasks and route.get('queue') in consumed:
            for state in (states.SUCCESS, states.FAILURE):
                labelled(FINISHED, task, None, state)


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    headers = request.request_dict
    headers[RECEIVED_AT] = time.monotonic()
    queue = headers['delivery_info'].get('routing_key')
    labelled(CONSUMER_TASKS, headers['task'], queue, states.RECEIVED).inc()


@signals.task_revoked.connect
def _revoked(request: Any, **_: Any) -> None:
    _ended(request.task, queue_of(request.delivery_info), states.REVOKED)


@signals.task_unknown.connect
@signals.task_rejected.connect
def _rejected(message: Any, **_: Any) -> None:
    _ended(UNKNOWN, queue_of(message.delivery_info), states.REJECTED)


@signals.task_failure.connect
def _failure(sender: Task, task_id: str, exception: BaseException, **_: Any) -> None:
    global _last_failed
    # A child counts its own failures. The parent has this signal for a child that was lost or
    # killed at its time limit, and for a task that rejected its message.
    if not _in_consumer() or task_id == _last_failed:
        return
    _last_failed = task_id
    queue = queue_of(sender.request.delivery_info)
    if isinstance(exception, Reject):  # the child has counted the end of the task
        labelled(CONSUMER_TASKS, sender.name, queue, states.FAILURE).inc()
    else:
        _ended(sender.name, queue, states.FAILURE)
        labelled(FAILED, sender.name, queue, type(exception).__name__).inc()


@signals.task_retry.connect
def _retry(sender: Task, request: Any, **_: Any) -> None:
    # Of a task whose child was lost, where that is a reason for a retry.
    if _in_consumer():
        labelled(RETRIED, sender.name, queue_of(request.delivery_info)).inc()


def _in_consumer() -> bool:
    return bool(current_process().name == 'MainProcess')


def _ended(task_name: str, queue: str | None, state: str) -> None:
    for metric in (CONSUMER_TASKS, FINISHED):
        labelled(metric, task_name, queue, state).inc()
