"""Tasks whose messages are not acknowledged; the worker imports them by the setting ``imports``."""

from __future__ import annotations

import signal
from pathlib import Path

from celery import shared_task
from celery.exceptions import Reject

from app.tasks.base_task import NoRetryTask

__all__ = ['FAILS', 'OUTLASTS', 'REJECTS', 'TASK']

TASK = 'tests.reject'
FAILS = 'tests.fails_unacknowledged'
OUTLASTS = 'tests.outlasts_unacknowledged'
REJECTS = 'tests.rejects_unacknowledged'


@shared_task(name=TASK)
def reject() -> None:
    raise Reject('on purpose', requeue=False)


@shared_task(name=FAILS, acks_on_failure_or_timeout=False)
def fails(path: str) -> None:
    _note_run(path)
    raise KeyError('on purpose')


@shared_task(base=NoRetryTask, name=OUTLASTS, acks_on_failure_or_timeout=False, time_limit=1)
def outlasts(path: str) -> None:
    _note_run(path)
    signal.pause()


@shared_task(base=NoRetryTask, name=REJECTS, acks_on_failure_or_timeout=False)
def rejects(path: str) -> None:
    _note_run(path)
    reject()


def _note_run(path: str) -> None:
    with Path(path).open('a') as file:
        file.write('.')
