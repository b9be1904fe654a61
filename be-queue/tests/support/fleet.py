"""Several of the template's workers side by side, without the rest of the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from be_queue.testing.waiting import wait_until
from tests.support.counted import Counted
from tests.support.process import Program, running

__all__ = ['fleet', 'limited']

COMMAND = ['-m', 'celery', '--quiet', '-A', 'app.worker', 'worker', '--loglevel=INFO']
FLAGS = ['--without-gossip', '--without-mingle', '--without-heartbeat']


def limited(ratelimits: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the variable that limits queues.

    Arguments:
        ratelimits: by queue ``name``, ``limit`` or both, as the mapping has them.
    """
    options = {
        'ratelimits': ratelimits,
        # A message that is received a second time is a dead letter.
        'max_receives': dict.fromkeys(ratelimits, 1),
        'wait_time_seconds': 1,
    }
    return {'CELERY_BROKER_TRANSPORT_OPTIONS': options}


@contextmanager
def fleet(counted: Counted, size: int, **variables: Any) -> Iterator[list[Program]]:
    """Run workers with the counting task; leave the block to kill them.

    Arguments:
        variables: more environment variables.
    """
    with ExitStack() as stack:
        workers = []
        for number in range(size):
            folder = counted.site.folder / f'worker-{number}'
            folder.mkdir()
            environment = {
                **counted.site.environment,
                'CELERY_IMPORTS': str(('tests.support.counting',)),
                'RUNS_FILE': str(counted.runs.path),
                'PLATFORM_QUEUE_NAME': '',
                'PROMETHEUS_MULTIPROC_DIR': str(folder),
                **{name: str(value) for name, value in variables.items()},
            }
            workers.append(
                stack.enter_context(running([*COMMAND, *FLAGS], environment, folder / 'log'))
            )
        for worker in workers:
            wait_until(lambda worker=worker: ' ready.' in worker.log, 'the worker is ready', 60)
        yield workers
