"""A Celery worker with the tests' own tasks: ``celery -A tests.support.own_worker``."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

from tests.support.own_tasks import build
from tests.support.worker import Site, Worker

__all__ = ['own_worker']


def __getattr__(name: str) -> Any:
    # Built in the worker alone: in the tests the environment is another.
    if name == 'app':
        return build(os.environ['USERNAME'])
    raise AttributeError(name)


def own_worker(site: Site, *flags: str, **variables: Any) -> AbstractContextManager[Worker]:
    """Run the worker with a site's queues; arguments are those of `Site.worker`."""
    return site.worker(*flags, app=__name__, **variables)
