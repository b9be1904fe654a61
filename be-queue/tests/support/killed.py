"""A pool whose process is killed with SIGKILL, again and again, while it counts.

python -m tests.support.killed TIMES FILE

FILE has a byte for each count that was begun.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import billiard
from celery import signals

from be_queue.testing.waiting import wait_until
from be_queue.worker.metrics import counter

#: Counts that are begun before the process is killed.
COUNTED = 50

TASKS = counter('tasks', 'Tasks.')


def _started() -> None:
    signals.worker_process_init.send(sender=None)


def _count_for_ever(path: Path) -> None:
    path.with_suffix('.pid').write_text(str(os.getpid()))
    with path.open('ab', buffering=0) as begun:
        while True:
            begun.write(b'.')
            TASKS.inc()


def main(times: int, path: Path) -> None:
    """Kill a process of the pool so many times."""
    path.touch()
    with billiard.Pool(1, initializer=_started, lost_worker_timeout=0.1) as pool:
        for _ in range(times):
            result = pool.apply_async(_count_for_ever, (path,))
            enough = path.stat().st_size + COUNTED
            wait_until(lambda n=enough: path.stat().st_size >= n, 'the process counts')
            os.kill(int(path.with_suffix('.pid').read_text()), signal.SIGKILL)
            result.wait(30)


if __name__ == '__main__':
    main(int(sys.argv[1]), Path(sys.argv[2]))
