"""The tasks that are sent by the clock, as Celery's ``beat_schedule``.

    'nightly-report': {'task': 'report', 'schedule': crontab(minute=0, hour=4)},

with ``from celery.schedules import crontab``. Times are in UTC. `docs/how-to/schedule-a-task.md`
has more.
"""

from typing import Any

__all__ = ['SCHEDULE']

SCHEDULE: dict[str, dict[str, Any]] = {}
