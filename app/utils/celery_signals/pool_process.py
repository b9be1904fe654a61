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

#: States of an attempt after which there is no other. REJECTED may be one, or not.
FINAL = frozenset({states.SUCCESS, states.FAILURE, states.IGNORED})


class _Metrics:
    """The metrics of one task and queue: looking one up takes longer than counting."""

    def __init__(self, names: tuple[str, str]) -> None:
        self.names = names
        self.started = WORKER_TASKS.labels(*names, states.STARTED)
        self.latency = LATENCY.labels(*names)
        self.wait = WAIT.labels(*names)
        self.runtime = RUNTIME.labels(*names)
        self.retried = RETRIED.labels(*names)
        self.ended = lru_cache(lambda state: WORKER_TASKS.labels(*names, state))
        self.finished = lru_cache(lambda state: FINISHED.labels(*names, state))


@lru_cache(1024)
def _metrics(name: str, routing_key: str | None) -> _Metrics:
    return _Metrics(labels_of(name, routing_key))


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
    state, outcome = _outcome(state, retval)
    metrics.ended(state).inc()
    if state == states.RETRY:
        metrics.retried.inc()
    elif state in FINAL or (state == states.REJECTED and not outcome.requeue):
        if state == states.FAILURE:
            if not isinstance(outcome, Exception):
                return  # this process ends, and the consumer says what becomes of the task
            FAILED.labels(*metrics.names, type(outcome).__name__).inc()
        metrics.finished(state).inc()


def _outcome(state: str | None, retval: Any) -> tuple[str, Any]:
    """Return the state of an attempt, and the exception that made it so.

    Arguments:
        state, retval: as Celery has them, which come before what goes wrong around the task: a
            result that could not be stored.
    """
    # Celery sends the signal from a ``finally``.
    error = sys.exc_info()[1]
    if error is None:
        return state or states.FAILURE, retval
    if isinstance(error, Reject):
        return states.REJECTED, error
    return states.FAILURE, error


@idempotency.not_run.connect
def _not_run(sender: Task, request: Mapping[str, Any], state: str, **_: Any) -> None:
    # Not finished: that is for the other run of the task.
    WORKER_TASKS.labels(*labels(sender.name, request.get('delivery_info')), state).inc()
