"""Signals of the life of the worker's processes."""

from __future__ import annotations

from typing import Any

from celery import signals

from app.utils import processes
from app.utils.celery_signals.results import flush, play
from app.utils.role import Role


@signals.worker_init.connect
def _consumer_starts(**_: Any) -> None:
    play(Role.CONSUMER)
    processes.start(Role.CONSUMER)


@signals.worker_process_init.connect
def _pool_process_starts(**_: Any) -> None:
    play(Role.POOL)
    processes.start(Role.POOL)


@signals.worker_process_shutdown.connect
def _pool_process_ends(**_: Any) -> None:
    processes.stop()


@signals.worker_shutdown.connect
def _consumer_ends(**_: Any) -> None:
    flush()
    processes.stop()
