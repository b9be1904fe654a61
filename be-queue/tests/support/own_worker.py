"""A Celery worker with the tests' own tasks: ``celery -A tests.support.own_worker``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from be_queue.testing.waiting import wait_until
from tests.support.own_tasks import build
from tests.support.process import Program, running
from tests.support.worker import Site

__all__ = ['own_worker']


def __getattr__(name: str) -> Any:
    # The worker's alone: for whoever imports `own_worker` the environment is another.
    if name == 'app':
        return build(os.environ['USERNAME'])
    raise AttributeError(name)


@contextmanager
def own_worker(site: Site, *arguments: str, **variables: Any) -> Iterator[Program]:
    """Run the worker, with a site's queues, until the end of the block.

    Arguments:
        arguments: more of them for ``celery worker``.
        variables: more environment variables, such as ``CELERY_BROKER_TRANSPORT``.
    """
    command = ['-m', 'celery', '--quiet', '-A', 'tests.support.own_worker', 'worker']
    flags = ['--without-gossip', '--without-mingle', '--without-heartbeat', '--loglevel=INFO']
    environment = site.environment | {name: str(value) for name, value in variables.items()}
    log_path = site.folder / f'own-worker-{len(list(site.folder.glob("own-worker-*")))}'
    with running([*command, *flags, *arguments], environment, log_path) as program:
        wait_until(lambda: ' ready.' in program.log, 'the worker is ready')
        yield program
