"""Your metrics, beside the worker's; `make docs` lists them in docs/metrics.md.

    ORDERS = counter('orders_charged', 'Orders charged, by currency.', 'currency')

Count in a task: ``ORDERS.labels('EUR').inc()``.
"""

from be_queue.worker.metrics import counter, gauge, histogram

__all__ = ['counter', 'gauge', 'histogram']
