"""Keeps the table of tasks: ``python -m app.monitor``.

Every producer sends a copy of each task message to the platform queue. The monitor is the process
that consumes them: one row per task, beside Celery's own table of results.
"""
