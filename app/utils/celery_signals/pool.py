"""Celery's pool of processes, which counts those that it starts and loses.

| reason     | a process of the pool ended while the worker ran                     |
|------------|----------------------------------------------------------------------|
| recycled   | after worker_max_tasks_per_child tasks                               |
| memory     | after a task that left it with more than worker_max_memory_per_child |
| time limit | killed with the task that ran into its hard time limit               |
| signal     | killed by anybody else, such as the kernel when memory is short      |
| exit       | a task or a library ended it                                         |
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from billiard import pool as billiard_pool
from celery import Celery
from celery.concurrency import asynpool, prefork

from app.utils.metrics.pool import LOST, STARTED
from be_queue import SettingError

__all__ = ['Reason', 'TaskPool', 'install']


class Reason(Enum):
    """Why a process of the pool ended before the worker."""

    RECYCLED = 'recycled'
    MEMORY = 'memory'
    TIME_LIMIT = 'time limit'
    SIGNAL = 'signal'
    EXIT = 'exit'


def install(app: Celery) -> None:
    """Have the app's worker use this pool instead of Celery's own of the same kind.

    Raises `SettingError` when the app is to use one of another kind.
    """
    if app.conf.worker_pool != 'prefork':
        raise SettingError(
            f"CELERY_WORKER_POOL={app.conf.worker_pool!r}: must be 'prefork', the only pool of "
            'this worker: leave it out'
        )
    app.conf.worker_pool = f'{__name__}:TaskPool'


class TimeoutHandler(billiard_pool.TimeoutHandler):
    """billiard's; it leaves a note at the process that it kills."""

    def _trywaitkill(self, worker: Any) -> None:
        # Unless it has ended by itself, which nobody has noticed yet.
        worker.over_time_limit = worker.exitcode is None
        super()._trywaitkill(worker)


class Pool(asynpool.AsynPool):
    """Celery's, which counts.

    Exit codes are all that is known of every process however it ended: signals and callbacks come
    for some ends, and for some twice.
    """

    TimeoutHandler = TimeoutHandler

    def apply_async(
        self,
        *args: Any,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Run a task, with its time limits counted from its start.

        Celery starts the clock of the hard limit when the soft one is over, so that a soft limit
        above it would let the task go on: such a limit is left out.
        """
        if soft_timeout and timeout and soft_timeout >= timeout:
            soft_timeout = None
        return super().apply_async(*args, soft_timeout=soft_timeout, timeout=timeout, **options)

    def _create_worker_process(self, i: int) -> Any:
        process = super()._create_worker_process(i)
        STARTED.inc()
        return process

    def _join_exited_workers(self, shutdown: bool = False) -> Any:
        # How many of its tasks are done is forgotten with the process.
        before = [(process, self._on_ready_counters.get(process.pid)) for process in self._pool]
        exit_codes = super()._join_exited_workers(shutdown)
        if exit_codes and self._state == billiard_pool.RUN:
            for process, done in before:
                if process not in self._pool:
                    LOST.labels(self._reason(process, done).value).inc()
        return exit_codes

    def _reason(self, process: Any, done: Any) -> Reason:
        if getattr(process, 'over_time_limit', False):
            return Reason.TIME_LIMIT
        if process.exitcode == billiard_pool.EX_RECYCLE:
            # Past the counter's lock, which whoever was killed may have held.
            count = done.get_obj().value if done else 0
            most = self._maxtasksperchild
            return Reason.RECYCLED if most and count >= most else Reason.MEMORY
        return Reason.SIGNAL if (process.exitcode or 0) < 0 else Reason.EXIT


class TaskPool(prefork.TaskPool):
    """For Celery's ``worker_pool``."""

    Pool = Pool

    def on_start(self) -> None:
        # Prometheus sees no increase in a series that begins with 1.
        for reason in Reason:
            LOST.labels(reason.value)
        # Each task brings its own, by default from the same setting.
        self.options['soft_timeout'] = None
        super().on_start()
