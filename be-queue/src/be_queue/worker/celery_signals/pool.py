"""Celery's pool of processes, with time limits that hold."""

from __future__ import annotations

from typing import Any

from celery.concurrency import prefork

__all__ = ['TaskPool']


class TaskPool(prefork.TaskPool):
    """For Celery's ``worker_pool``: ignores a soft limit that is not below the hard one.

    Celery starts the clock of the hard limit when the soft one is over.
    """

    def on_start(self) -> None:
        # Each task brings its own, by default from the same setting.
        self.options['soft_timeout'] = None
        super().on_start()

    def apply_async(self, *args: Any, **options: Any) -> Any:
        soft, hard = options.get('soft_timeout'), options.get('timeout')
        if soft and hard and soft >= hard:
            options['soft_timeout'] = None
        return super().apply_async(*args, **options)
