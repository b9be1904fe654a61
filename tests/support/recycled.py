"""A pool whose processes count, and are recycled or killed.

python -m tests.support.recycled recycle TASKS
python -m tests.support.recycled kill TIMES FILE

``recycle`` replaces a process after each task. ``kill`` kills one with SIGKILL, again and again,
while it counts; FILE has a byte for each count that was begun.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import billiard
from celery import signals

from app.utils.metrics.metrics import counter, histogram
from tests.support.waiting import wait_until

QUEUES = ('a', 'b', 'c')
PROCESSES = 4
#: Counts that are begun before the process is killed.
COUNTED = 50

TASKS = counter('tasks', 'Tasks.', 'queue')
SECONDS = histogram('seconds', 'Seconds.', 'queue', buckets=(1, 5))


def _started() -> None:
    signals.worker_process_init.send(sender=None)


def _count(number: int) -> None:
    random.seed(number)
    for queue in QUEUES:
        TASKS.labels(queue).inc()
        SECONDS.labels(queue).observe(random.uniform(0, 10))


def _count_for_ever(path: Path) -> None:
    path.with_suffix('.pid').write_text(str(os.getpid()))
    with path.open('ab', buffering=0) as begun:
        while True:
            begun.write(b'.')
            TASKS.labels('a').inc()


def recycle(tasks: int) -> None:
    """Run the tasks, each in a process of its own."""
    with billiard.Pool(PROCESSES, initializer=_started, maxtasksperchild=1) as pool:
        pool.map(_count, range(tasks), chunksize=1)


def kill(times: int, path: Path) -> None:
    """Kill a process of the pool so many times."""
    path.touch()
    with billiard.Pool(1, initializer=_started) as pool:
        for _ in range(times):
            pool.apply_async(_count_for_ever, (path,))
            enough = path.stat().st_size + COUNTED
            wait_until(lambda n=enough: path.stat().st_size >= n, 'the process counts')
            os.kill(int(path.with_suffix('.pid').read_text()), signal.SIGKILL)


if __name__ == '__main__':
    what, number, *rest = sys.argv[1:]
    if what == 'recycle':
        recycle(int(number))
    else:
        kill(int(number), Path(rest[0]))
