"""Processes that count and end one after the other, as those of a pool that are recycled do.

python -m tests.support.recycled CHILDREN, with PROMETHEUS_MULTIPROC_DIR set
"""

from __future__ import annotations

import os
import random
import sys

from prometheus_client import Counter, Gauge, Histogram

#: That run side by side.
SIDE_BY_SIDE = 4
QUEUES = ('a', 'b', 'c')


def main(count: int) -> None:
    """Fork the processes, a few at a time."""
    tasks = Counter('tasks', 'Tasks.', ['queue'])
    seconds = Histogram('seconds', 'Seconds.', ['queue'])
    largest = Gauge('largest', 'Largest.', multiprocess_mode='max')
    latest = Gauge('latest', 'Latest.', multiprocess_mode='livemostrecent')
    running = 0
    for number in range(count):
        if running == SIDE_BY_SIDE:
            os.wait()
            running -= 1
        if not os.fork():
            random.seed(number)
            for queue in QUEUES:
                tasks.labels(queue).inc()
                seconds.labels(queue).observe(random.uniform(0, 10))
            largest.set(number)
            latest.set(number)
            os._exit(0)
        running += 1
    for _ in range(running):
        os.wait()


if __name__ == '__main__':
    main(int(sys.argv[1]))
