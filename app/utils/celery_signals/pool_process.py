"""Signals of a pool process: it runs tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery import Task, signals, states

from app.utils import idempotency, soft_time_limit
from app.utils.celery_signals.consumer import RECEIVED_AT
from app.utils.celery_signals.labels import labels
from app.utils.metrics.metrics import LATENCY, RUNTIME, WORKER_TASKS


@signals.task_prerun.connect
def _prerun(task: Task, **_: Any) -> None:
    soft_time_limit.hold_off()
    now = time.monotonic()
    request = task.request
    request.prerun_at = now
    names = labels(task.name, request.delivery_info)
    WORKER_TASKS.labels(state=states.STARTED, **names).inc()
    received_at = getattr(request, RECEIVED_AT, None)
    if received_at is not None:
        LATENCY.labels(**names).observe(max(0.0, now - received_at))


@signals.task_postrun.connect
def _postrun(task: Task, state: str | None, **_: Any) -> None:
    request = task.request
    names = labels(task.name, request.delivery_info)
    # No state: the task ended in an error of Celery's own, which it reports as a failure.
    WORKER_TASKS.labels(state=state or states.FAILURE, **names).inc()
    RUNTIME.labels(**names).observe(time.monotonic() - request.prerun_at)


@idempotency.not_run.connect
def _not_run(sender: Task, request: Mapping[str, Any], state: str, **_: Any) -> None:
    names = labels(sender.name, request.get('delivery_info'))
    WORKER_TASKS.labels(state=state, **names).inc()
