"""Tasks that end in other ways than those of the template, for its ``celery`` queue."""

from __future__ import annotations

import os
from pathlib import Path

from celery import shared_task
from celery.exceptions import Ignore, Reject

from app.tasks.base_task import NoRetryTask

__all__ = ['EXITS_ONCE', 'IGNORED', 'IMPORTS', 'REJECTED']

#: For the variables of `tests.support.worker.Site.server`.
IMPORTS = {'CELERY_IMPORTS': ('tests.support.ending',)}

EXITS_ONCE = 'tests.exits_once'
IGNORED = 'tests.ignored'
REJECTED = 'tests.rejected'


@shared_task(base=NoRetryTask, name=EXITS_ONCE)
def exits_once(marker: str) -> str:
    """End the process, unless that has been done: there is a file ``marker`` then."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return 'done'
    os._exit(3)


@shared_task(base=NoRetryTask, name=IGNORED)
def ignored() -> None:
    """Want no result."""
    raise Ignore


@shared_task(base=NoRetryTask, name=REJECTED)
def rejected() -> None:
    """Have the message moved to the dead-letter queue."""
    raise Reject('on purpose', requeue=False)
