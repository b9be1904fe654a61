"""Signals that switch a task's spans on; while tracing is off nothing is imported or connected."""

from __future__ import annotations

from typing import Any

from celery import signals

from app.utils import tracing


# Connected after those of `app.utils.celery_signals.processes`, which start the tracer.
@signals.worker_init.connect
def _consumer_started(**_: Any) -> None:
    if tracing.is_on():
        from app.utils.celery_signals import traced_tasks

        traced_tasks.connect_consumer()


@signals.worker_process_init.connect
def _pool_process_started(**_: Any) -> None:
    if tracing.is_on():
        from app.utils.celery_signals import traced_tasks

        traced_tasks.connect_pool_process()
