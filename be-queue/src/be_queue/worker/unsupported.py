"""Refuses options of Celery that this worker does not support, before it starts."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from be_queue import SettingError
from be_queue.worker import logs
from be_queue.worker.celery_signals.processes import TaskPool

__all__ = ['check']

PREFORK_ONLY = 'must be prefork, the only pool of this worker: leave it out'


def check(app: Celery) -> None:
    """Raise `SettingError` for another pool than prefork, and for rate limits of Celery's."""
    if app.conf.worker_pool != 'prefork':
        raise SettingError(f'CELERY_WORKER_POOL={app.conf.worker_pool!r}: {PREFORK_ONLY}')
    _check_rate_limits(app)


@signals.celeryd_init.connect
def _worker_starts(instance: Any, options: dict[str, Any], **_: Any) -> None:
    """Look at the command line, and at the tasks that only a worker imports."""
    try:
        if options.get('beat'):
            raise SettingError(
                '-B: beat would close files of the worker that it is started in: start it by '
                'itself, once for all workers, as: celery -A app.worker beat'
            )
        if options.get('pool') not in (None, TaskPool):
            raise SettingError(f'-P: {PREFORK_ONLY}')
        _check_rate_limits(instance.app)
    except SettingError as error:
        logs.cannot_start(error)
        raise SystemExit(1) from None


def _check_rate_limits(app: Celery) -> None:
    limits = {'CELERY_TASK_DEFAULT_RATE_LIMIT': app.conf.task_default_rate_limit}
    limits |= {f'task {name}: rate_limit': task.rate_limit for name, task in app.tasks.items()}
    for name, limit in limits.items():
        # Celery limits what a worker has received: messages that wait keep the room of others.
        if limit:
            raise SettingError(
                f'{name}={limit!r}: what waits for a limit of Celery keeps the room of other '
                'queues: set Queue(..., ratelimit=...) in app/config/queues.py instead'
            )
