"""Celery's pool of processes, with time limits that hold and a count of the processes it loses."""

from __future__ import annotations

from typing import Any

from billiard.compat import mem_rss
from billiard.pool import EX_RECYCLE
from celery import Celery, current_app, signals
from celery.concurrency import prefork
from celery.worker import state

from app.utils.metrics.metrics import LOST, STARTED

__all__ = ['TaskPool', 'install', 'over_time_limit']

#: Why a process of the pool ended before the worker, see docs/metrics.md.
REASONS = ('recycled', 'memory', 'time limit', 'signal', 'exit')
#: Pids of the processes that are being killed at a hard time limit.
over_time_limit: set[int] = set()


def install(app: Celery) -> None:
    """Have the app's worker use this pool instead of Celery's own of the same kind."""
    app.conf.worker_pool = f'{__name__}:TaskPool'


class TaskPool(prefork.TaskPool):
    """For Celery's ``worker_pool``."""

    def on_start(self) -> None:
        for reason in REASONS:
            LOST.labels(reason)  # Prometheus sees no increase in a series that begins with 1
        # Each task brings its own, by default from the same setting.
        self.options['soft_timeout'] = None
        super().on_start()

    def apply_async(
        self,
        *args: Any,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Run a task without a soft limit that is not below the hard one.

        Celery starts the clock of the hard limit when the soft one is over.
        """
        if soft_timeout and timeout and soft_timeout >= timeout:
            soft_timeout = None
        return super().apply_async(*args, soft_timeout=soft_timeout, timeout=timeout, **options)

    def register_with_event_loop(self, loop: Any) -> None:
        super().register_with_event_loop(loop)
        clean_up = self._pool.on_process_down

        def on_process_down(process: Any) -> None:
            clean_up(process)
            _count_lost(process.pid, process.exitcode)

        self._pool.on_process_down = on_process_down


def _count_lost(pid: int, exit_code: int) -> None:
    reason = 'signal' if exit_code < 0 else 'exit'
    if pid in over_time_limit:
        over_time_limit.remove(pid)
        reason = 'time limit'
    stops = state.should_stop is not None or state.should_terminate is not None
    if not stops and exit_code != EX_RECYCLE:  # which the process has counted
        LOST.labels(reason).inc()


@signals.worker_process_init.connect
def _process_starts(**_: Any) -> None:
    STARTED.inc()


@signals.worker_process_shutdown.connect
def _process_ends(exitcode: int, **_: Any) -> None:
    if exitcode == EX_RECYCLE:
        most = current_app.conf.worker_max_memory_per_child
        LOST.labels('memory' if most and mem_rss() > most else 'recycled').inc()
