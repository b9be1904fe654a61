"""The tasks: the second file to edit. Each needs an entry in app/config/queues.py.

A new module beside this one needs nothing else: the worker imports them all.
"""

from __future__ import annotations

import time

from celery import Task, shared_task

from app.tasks.base_task import ExponentialBackoffTask, NoRetryTask


@shared_task(base=ExponentialBackoffTask, name='add')
def add(x: float, y: float) -> float:
    """Return the sum."""
    return x + y


@shared_task(base=ExponentialBackoffTask, name='retry_demo', bind=True)
def retry_demo(self: Task, failures: int = 2) -> str:
    """Fail the first ``failures`` attempts, then succeed and say at which attempt."""
    attempt = self.request.retries + 1
    if attempt <= failures:
        raise ConnectionError(f'attempt {attempt} fails on purpose, {failures} do')
    return f'succeeded at attempt {attempt}'


@shared_task(base=NoRetryTask, name='slow')
def slow(seconds: float = 5.0) -> float:
    """Take ``seconds``, then return them."""
    time.sleep(seconds)
    return seconds
