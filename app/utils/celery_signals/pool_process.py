"""Signals of a pool process: it runs tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import Task, signals, states
from celery.exceptions import Reject

from app.utils import idempotency, soft_time_limit
from app.utils.celery_signals.consumer import RECEIVED_AT
from app.utils.celery_signals.labels import labels, labels_of
from app.utils.metrics.metrics import LATENCY, RUNTIME, WORKER_TASKS
from app.utils.metrics.tasks import FAILED, FINISHED, RETRIED, WAIT


class _Metrics:
    """The metrics of one task and queue: looking one up takes longer than counting."""

    def __init__(self, name: str, routing_key: str | None) -> None:
        self.names = names = labels_of(name, routing_key)
        self.started = WORKER_TASKS.labels(*names, states.STARTED)
        self.latency = LATENCY.labels(*names)
        self.wait = WAIT.labels(*names)
        self.runtime = RUNTIME.labels(*names)
        self.ended = lru_cache(lambda state: WORKER_TASKS.labels(*names, state))
        self.finished = lru_cache(lambda state: FINISHED.labels(*names, state))


_metrics = lru_cache(1024)(_Metrics)


@signals.task_prerun.connect
def _prerun(task: Task, **_: Any) -> None:
    soft_time_limit.hold_off()
    now = time.monotonic()
    request = task.request
    request.prerun_at = now
    metrics = _metrics(task.name, (request.delivery_info or {}).get('routing_key'))
    request.metrics = metrics
    metrics.started.inc()
    received_at = getattr(request, RECEIVED_AT, None)
    if received_at is not None:
        metrics.latency.observe(max(0.0, now - received_at))
    try:
        due_at = request.properties['delivery_info']['due_at']
    except (AttributeError, KeyError, TypeError):
        return  # another transport
    metrics.wait.observe(max(0.0, time.time() - due_at))


@signals.task_postrun.connect
def _postrun(task: Task, retval: Any, state: str | None, **_: Any) -> None:
    request = task.request
    metrics: _Metrics = request.metrics
    metrics.runtime.observe(time.monotonic() - request.prerun_at)
    # Celery sends the signal from a ``finally``. Its state is from before an error around the task,
    # such as a result that could not be stored.
    error = sys.exc_info()[1]
    if error is not None:
        state, retval = states.REJECTED if isinstance(error, Reject) else states.FAILURE, error
    metrics.ended(state).inc()
    if state == states.RETRY:
        RETRIED.labels(*metrics.names).inc()
    elif state == states.FAILURE:
        # Anything else ends this process, and the consumer says what becomes of the task.
        if isinstance(retval, Exception):
            FAILED.labels(*metrics.names, type(retval).__name__).inc()
            metrics.finished(state).inc()
    elif state != states.REJECTED or not retval.requeue:
        metrics.finished(state).inc()


@idempotency.not_run.connect
def _not_run(sender: Task, request: Mapping[str, Any], state: str, **_: Any) -> None:
    # Not finished: that is for the other run of the task.
    WORKER_TASKS.labels(*labels(sender.name, request.get('delivery_info')), state).inc()
