"""A Celery worker that, told to stop, hands nothing back that one of its children runs.

Celery drops every task that no child has reported to have started. One that was written to a child
a moment ago runs all the same: its message would go back to SQS, and the task run twice.
"""

from __future__ import annotations

from typing import Any

from celery.worker import consumer

from be_queue.transport.holding.stopping import turn_until

__all__ = ['Consumer']

#: Seconds within which a child that has been given a task says so.
PATIENCE = 2.0


class Consumer(consumer.Consumer):
    """For Celery's ``worker_consumer``, as ``be_queue.worker:Consumer``."""

    def on_close(self) -> None:
        receiving = getattr(self.task_consumer and self.task_consumer.channel, 'receiving', None)
        pool = getattr(self.pool, '_pool', None)
        # Other transports, and pools without an event loop, are Celery's affair.
        if receiving is not None and hasattr(pool, 'outbound_buffer'):
            receiving.stop()
            self._await_starts(pool)
        super().on_close()

    def _await_starts(self, pool: Any) -> None:
        """Give the children no more tasks, and wait until those given are seen to start."""
        self.controller.semaphore.clear()
        pool.outbound_buffer.clear()
        turn_until(self.hub, lambda: not _starting(pool), PATIENCE)


def _starting(pool: Any) -> bool:
    return any(job._write_to is not None and not job._accepted for job in pool._cache.values())
