"""Processes of the pool that take longer to start than Celery waits by default."""

from __future__ import annotations

import time
from typing import Any

from celery import signals

__all__ = ['IMPORTS']

#: For the variables of `tests.support.worker.Site.worker`.
IMPORTS = {'CELERY_IMPORTS': ('tests.support.ending', 'tests.support.slow_start')}

#: Celery's own limit is 4.
SECONDS = 5


@signals.worker_process_init.connect
def _take_long(**_: Any) -> None:
    time.sleep(SECONDS)
