"""A task that logs an event: CELERY_IMPORTS=examples.td.tasks makes the worker know it."""

from __future__ import annotations

from celery import shared_task

from app.tasks.base_task import ExponentialBackoffTask
from app.utils.fluent import td

__all__ = ['charge']


@shared_task(base=ExponentialBackoffTask, name='examples.td.charge')
def charge(order_id: int, cents: int) -> str:
    """Charge an order, and log that it was."""
    # Each attempt that comes this far logs an event: last in the task, there is one for each
    # success, and one more only when its message is delivered twice.
    td.log('charges', {'order_id': order_id, 'cents': cents, 'currency': 'EUR'})
    return f'charged {cents / 100:.2f} EUR'
