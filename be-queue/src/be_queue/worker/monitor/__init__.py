"""Keeps the table of tasks.

Every producer sends a copy of each task message to the platform queue. The monitor is the process
that consumes them: one row per task, beside Celery's own table of results.
"""

from be_queue.worker.monitor.run import main

__all__ = ['main']
