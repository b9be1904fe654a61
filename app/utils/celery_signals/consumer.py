"""Signals of the consuming process: what it receives, and what no child can report any more."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from billiard import current_process
from celery import Task, current_app, signals, states
from celery.exceptions import Reject
from prometheus_client import Counter

from app.utils.celery_signals.labels import UNKNOWN, labels, labels_of, routes
from app.utils.metrics.metrics import CONSUMER_TASKS
from app.utils.metrics.tasks import FAILED, FINISHED, RETRIED

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
                FINISHED.labels(*labels(task, None), state)


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    headers = request.request_dict
    headers[RECEIVED_AT] = time.monotonic()
    _of_received(headers['task'], headers['delivery_info'].get('routing_key')).inc()


# Looking a metric up takes longer than counting.
@lru_cache(1024)
def _of_received(name: str, routing_key: str | None) -> Counter:
    return CONSUMER_TASKS.labels(*labels_of(name, routing_key), states.RECEIVED)


@signals.task_revoked.connect
def _revoked(request: Any, **_: Any) -> None:
    _ended(labels(request.task, request.delivery_info), states.REVOKED)


@signals.task_unknown.connect
@signals.task_rejected.connect
def _rejected(message: Any, **_: Any) -> None:
    _ended(labels(UNKNOWN, message.delivery_info), states.REJECTED)


@signals.task_failure.connect
def _failure(sender: Task, task_id: str, exception: BaseException, **_: Any) -> None:
    global _last_failed
    # A child counts its own failures. The parent has this signal for a child that was lost or
    # killed at its time limit, and for a task that rejected its message.
    if not _in_consumer() or task_id == _last_failed:
        return
    _last_failed = task_id
    names = labels(sender.name, sender.request.delivery_info)
    if isinstance(exception, Reject):  # the child has counted the end of the task
        CONSUMER_TASKS.labels(*names, states.FAILURE).inc()
    else:
        _ended(names, states.FAILURE)
        FAILED.labels(*names, type(exception).__name__).inc()


@signals.task_retry.connect
def _retry(sender: Task, request: Any, **_: Any) -> None:
    # Of a task whose child was lost, where that is a reason for a retry.
    if _in_consumer():
        RETRIED.labels(*labels(sender.name, request.delivery_info)).inc()


def _in_consumer() -> bool:
    return bool(current_process().name == 'MainProcess')


def _ended(names: tuple[str, str], state: str) -> None:
    CONSUMER_TASKS.labels(*names, state).inc()
    FINISHED.labels(*names, state).inc()
