"""The pool of processes, and the life of the worker's processes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from functools import partial
from typing import Any

from celery import Celery, Task, current_app, signals
from celery.concurrency import prefork

from be_queue.worker import processes, tracing
from be_queue.worker.result_store import ResultStore
from be_queue.worker.role import Role

__all__ = ['TaskPool', 'install']

SIGTERM = {signal.SIGTERM}


def install(app: Celery) -> None:
    """Have the app's worker use `TaskPool`."""
    app.conf.worker_pool = f'{__name__}:TaskPool'


class TaskPool(prefork.TaskPool):
    """For Celery's ``worker_pool``: its processes share what the main process has loaded.

    It ignores a soft limit that is not below the hard one: Celery starts the clock of the hard
    limit when the soft one is over.
    """

    def on_start(self) -> None:
        # Each task brings its own, by default from the same setting.
        self.options['soft_timeout'] = None
        # In a child, a collection of garbage would write to every object, and so copy its memory
        # (getsentry/sentry#63001, apache/airflow#62212).
        gc.collect()
        gc.freeze()
        super().on_start()

    def apply_async(self, *args: Any, **options: Any) -> Any:
        soft, hard = options.get('soft_timeout'), options.get('timeout')
        if soft and hard and soft >= hard:
            options['soft_timeout'] = None
        return super().apply_async(*args, **options)


@signals.worker_init.connect
def _consumer_starts(**_: Any) -> None:
    for task in current_app.tasks.values():
        if task.Request == Task.Request:
            task.Request = 'be_queue.worker.celery_signals.request:Request'
    _start(Role.CONSUMER)


@signals.worker_process_init.connect
def _pool_process_starts(**_: Any) -> None:
    _start(Role.POOL)
    # billiard's handler raises SystemExit, which Python drops while it calls what is registered for
    # forks: a process of a task's own that is terminated so early would never end.
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, SIGTERM),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, SIGTERM),
        after_in_child=_terminate_by_default,
    )


def _terminate_by_default() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGTERM)


@signals.worker_process_shutdown.connect
def _pool_process_ends(**_: Any) -> None:
    processes.stop()


@signals.worker_shutdown.connect
def _consumer_ends(**_: Any) -> None:
    if isinstance(current_app.backend, ResultStore):
        current_app.backend.flush()
    processes.stop()


@signals.beat_init.connect
def _scheduler_starts(**_: Any) -> None:
    processes.start(Role.SCHEDULER)
    atexit.register(processes.stop)


def _start(role: Role) -> None:
    if isinstance(current_app.backend, ResultStore):
        current_app.backend.play(role)
    processes.start(role)
    if tracing.is_on():
        from be_queue.worker.tracing import spans

        spans.connect(role)
