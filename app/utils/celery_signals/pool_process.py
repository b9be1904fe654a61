"""Signals of a pool process: it runs tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from celery import Task, signals, states
from celery.exceptions import Reject

from app.utils import idempotency, soft_time_limit
from app.utils.celery_signals.consumer import RECEIVED_AT
from app.utils.celery_signals.labels import labelled, queue_of
from app.utils.metrics.metrics import (
    FAILED,
    FINISHED,
    LATENCY,
    RETRIED,
    RUNTIME,
    WAIT,
    WORKER_TASKS,
)


@signals.task_prerun.connect
def _prerun(task: Task, **_: Any) -> None:
    soft_time_limit.hold_off()
    request = task.request
    request.prerun_at = now = time.monotonic()
    labels = task.name, queue_of(request.delivery_info)
    labelled(WORKER_TASKS, *labels, states.STARTED).inc()
    received_at = getattr(request, RECEIVED_AT, None)
    if received_at is not None:
        labelled(LATENCY, *labels).observe(max(0.0, now - received_at))
    try:
        due_at = request.properties['delivery_info']['due_at']
    except (AttributeError, KeyError, TypeError):
        return  # another transport
    labelled(WAIT, *labels).observe(max(0.0, time.time() - due_at))


@signals.task_postrun.connect
def _postrun(task: Task, retval: Any, state: str, **_: Any) -> None:
    request = task.request
    labels = task.name, queue_of(request.delivery_info)
    labelled(RUNTIME, *labels).observe(time.monotonic() - request.prerun_at)
    # Celery sends the signal from a ``finally``. Its state is from before an error around the task,
    # such as a result that could not be stored.
    error = sys.exc_info()[1]
    if error is not None:
        state, retval = states.REJECTED if isinstance(error, Reject) else states.FAILURE, error
    labelled(WORKER_TASKS, *labels, state).inc()
    if state == states.RETRY:
        labelled(RETRIED, *labels).inc()
    elif state == states.FAILURE:
        # Anything else ends this process, and the consumer says what becomes of the task.
        if isinstance(retval, Exception):
            labelled(FAILED, *labels, type(retval).__name__).inc()
            labelled(FINISHED, *labels, state).inc()
    elif state != states.REJECTED or not retval.requeue:
        labelled(FINISHED, *labels, state).inc()


@idempotency.not_run.connect
def _not_run(sender: Task, request: Mapping[str, Any], state: str, **_: Any) -> None:
    # Not finished: that is for the other run of the task.
    labelled(WORKER_TASKS, sender.name, queue_of(request.get('delivery_info')), state).inc()
