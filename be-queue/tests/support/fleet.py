"""Several of the template's workers side by side, without the rest of the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.counted import Counted
from tests.support.worker import Worker

__all__ = ['fleet', 'limited']


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
def fleet(counted: Counted, size: int, **variables: Any) -> Iterator[list[Worker]]:
    """Run workers with the counting task; leave the block to kill them."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(counted.worker(wait=False, **variables)) for _ in range(size)
        ]
        for worker in workers:
            worker.wait_ready()
        yield workers
