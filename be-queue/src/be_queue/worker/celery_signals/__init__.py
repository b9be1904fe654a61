"""Handlers of Celery's signals: metrics, lost copies, attempts, the life of the worker's processes.

Importing the package connects them; Celery keeps weak references, so they live at module level.
"""

from be_queue.worker.celery_signals import earlier_attempts, lost_copies, metrics, outcomes
from be_queue.worker.celery_signals.processes import install

__all__ = ['earlier_attempts', 'install', 'lost_copies', 'metrics', 'outcomes']
