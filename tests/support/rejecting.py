"""A task that rejects its message; the worker imports it by the setting ``imports``."""

from __future__ import annotations

from celery import shared_task
from celery.exceptions import Reject

__all__ = ['TASK', 'reject']

TASK = 'tests.reject'


@shared_task(name=TASK)
def reject() -> None:
    """Reject the message for good."""
    raise Reject('on purpose', requeue=False)
