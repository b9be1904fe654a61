"""A task with a rate limit of Celery's; a worker imports it by the setting ``imports``."""

from __future__ import annotations

from celery import shared_task

__all__ = ['rate_limited']


@shared_task(name='tests.rate_limited', rate_limit='6/m')
def rate_limited() -> None:
    """Do nothing."""
