"""Counts tasks by Celery's signals, in the consuming process and in those of the pool.

The consuming process counts what it receives, and the ends of tasks that no pool process reports.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from billiard import current_process
from billiard.pool import EX_RECYCLE
from celery import Task, current_app, signals
from celery.exceptions import Reject
from celery.states import FAILURE, RECEIVED, REJECTED, RETRY, REVOKED, STARTED, SUCCESS

from be_queue.worker import idempotency
from be_queue.worker.metrics import metrics
from be_queue.worker.revoked import Revoked

__all__ = ['UNKNOWN', 'labelled', 'queue_of']

UNKNOWN = 'unknown'
#: Why a process of the pool ended before the worker, see docs/metrics.md.
LOST_REASONS = ('recycled', 'memory', 'time limit', 'signal', 'exit')
# Header under which the time of receipt, by the system-wide monotonic clock, reaches the pool.
_RECEIVED_AT = 'received_at'


@lru_cache(4096)  # Looking a metric up takes longer than counting.
def labelled(metric: Any, task_name: str, queue: str | None, *more: str) -> Any:
    """Return a metric with a task's ``name`` and ``queue``, and ``more`` labels.

    A name or queue that this worker has not is ``unknown``, so that strangers cannot add values.
    """
    return metric.labels(
        task_name if task_name in current_app.tasks else UNKNOWN,
        queue if queue in current_app.amqp.queues else UNKNOWN,
        *more,
    )


def queue_of(delivery_info: Mapping[str, Any] | None) -> str | None:
    """Return the queue that a message came from."""
    info = delivery_info or {}
    # Celery drops it, and keeps the routing key, the sender's.
    return info.get('received_from') or info.get('routing_key')


@signals.worker_init.connect
def _begin_at_zero(**_: Any) -> None:
    # Prometheus sees no increase in a series that begins with 1.
    for reason in LOST_REASONS:
        metrics.LOST.labels(reason)
    mapping = current_app.conf.QUEUES
    for queue in mapping:
        if queue.consume:
            for state in (SUCCESS, FAILURE):
                labelled(metrics.FINISHED, queue.task, mapping.sqs_name(queue), state)


@signals.worker_process_init.connect
def _process_starts(**_: Any) -> None:
    metrics.STARTED.inc()


@signals.worker_process_shutdown.connect
def _process_ends(exitcode: int, **_: Any) -> None:
    if exitcode == EX_RECYCLE:
        most = current_app.conf.worker_max_memory_per_child  # KiB, as Linux has it below
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        metrics.LOST.labels('memory' if most and used > most else 'recycled').inc()


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    headers = request.request_dict
    headers[_RECEIVED_AT] = time.monotonic()
    queue = headers['delivery_info'].get('routing_key')
    labelled(metrics.CONSUMER_TASKS, headers['task'], queue, RECEIVED).inc()


@signals.task_revoked.connect
def _revoked(request: Any, **_: Any) -> None:
    _ended(request.task, queue_of(request.delivery_info), REVOKED)


@signals.task_unknown.connect
@signals.task_rejected.connect
def _rejected(message: Any, **_: Any) -> None:
    _ended(UNKNOWN, queue_of(message.delivery_info), REJECTED)


@signals.task_failure.connect
def _failed(sender: Task, exception: BaseException, **_: Any) -> None:
    if not _in_consumer():
        return  # `_postrun` counts it
    queue = queue_of(sender.request.delivery_info)
    if isinstance(exception, Reject):  # the pool process has counted the end of the task
        labelled(metrics.CONSUMER_TASKS, sender.name, queue, FAILURE).inc()
    else:
        _ended(sender.name, queue, FAILURE)
        labelled(metrics.FAILED, sender.name, queue, type(exception).__name__).inc()


@signals.task_retry.connect
def _retried(sender: Task, request: Any, **_: Any) -> None:
    if _in_consumer():  # its process was lost, and the task has `retry_on_worker_lost`
        labelled(metrics.RETRIED, sender.name, queue_of(request.delivery_info)).inc()


@signals.task_prerun.connect
def _prerun(task: Task, **_: Any) -> None:
    request = task.request
    request.prerun_at = now = time.monotonic()
    labels = task.name, queue_of(request.delivery_info)
    labelled(metrics.WORKER_TASKS, *labels, STARTED).inc()
    received_at = getattr(request, _RECEIVED_AT, None)
    if received_at is not None:
        labelled(metrics.LATENCY, *labels).observe(max(0.0, now - received_at))
    due_at = ((request.properties or {}).get('delivery_info') or {}).get('due_at')
    if due_at is not None:  # else of another transport
        labelled(metrics.WAIT, *labels).observe(max(0.0, time.time() - due_at))


@signals.task_postrun.connect
def _postrun(task: Task, retval: Any, state: str, **_: Any) -> None:
    request = task.request
    labels = task.name, queue_of(request.delivery_info)
    # Celery sends the signal from a ``finally``. Its state is from before an error around the task,
    # such as a result that could not be stored.
    error = sys.exc_info()[1]
    if isinstance(error, Revoked):
        state = REVOKED
    else:
        labelled(metrics.RUNTIME, *labels).observe(time.monotonic() - request.prerun_at)
        if error is not None:
            state, retval = REJECTED if isinstance(error, Reject) else FAILURE, error
    labelled(metrics.WORKER_TASKS, *labels, state).inc()
    if state == RETRY:
        labelled(metrics.RETRIED, *labels).inc()
    elif state == FAILURE:
        # Anything else ends this process, and the consumer says what becomes of the task.
        if isinstance(retval, Exception):
            labelled(metrics.FAILED, *labels, type(retval).__name__).inc()
            labelled(metrics.FINISHED, *labels, state).inc()
    elif state != REJECTED or not retval.requeue:
        labelled(metrics.FINISHED, *labels, state).inc()


@idempotency.not_run.connect
def _not_run(sender: Task, request: Mapping[str, Any], state: str, **_: Any) -> None:
    # Not finished: that is for the other run of the task.
    queue = queue_of(request.get('delivery_info'))
    labelled(metrics.WORKER_TASKS, sender.name, queue, state).inc()


def _ended(task_name: str, queue: str | None, state: str) -> None:
    for metric in (metrics.CONSUMER_TASKS, metrics.FINISHED):
        labelled(metric, task_name, queue, state).inc()


def _in_consumer() -> bool:
    return bool(current_process().name == 'MainProcess')
