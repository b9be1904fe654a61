"""A task that leaves a line in a file whenever it starts and ends, and what reads the file.

The worker imports it by the setting ``imports``; the line is on the disk whatever is killed next.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from celery import shared_task

__all__ = ['TASK', 'Run', 'Runs', 'count']

TASK = 'tests.count'


@shared_task(name=TASK, ignore_result=True)
def count(number: int, seconds: float = 0.0, until: str = '') -> None:
    """Take ``seconds``, and as long as there is no file ``until``; say so before and after."""
    _note('start', number)
    time.sleep(seconds)
    while until and not Path(until).exists():
        time.sleep(0.05)
    _note('end', number)


def _note(what: str, number: int) -> None:
    line = f'{what} {number} {time.time():.4f} {os.getpid()}\n'.encode()
    # One write with O_APPEND: processes do not get in each other's way.
    descriptor = os.open(os.environ['RUNS_FILE'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Run:
    """The end of a task: which, and when, in seconds since the epoch."""

    number: int
    time: float


class Runs:
    """What the tasks have written so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._offset = 0
        self._starts: Counter[int] = Counter()
        self._ends: Counter[int] = Counter()
        self._log: list[Run] = []

    @property
    def starts(self) -> Counter[int]:
        """How often each task was started."""
        self._read()
        return self._starts

    @property
    def ends(self) -> Counter[int]:
        """How often each task came to its end."""
        self._read()
        return self._ends

    @property
    def log(self) -> list[Run]:
        """Every end, in the order of time."""
        self._read()
        return self._log

    @property
    def duplicates(self) -> int:
        """How many ends were not the first of their task."""
        return self.ends.total() - len(self._ends)

    def _read(self) -> None:
        with self._lock:
            if not self.path.exists():
                return
            with self.path.open('rb') as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b'\n'):
                        break
                    self._offset += len(line)
                    self._add(*line.split())

    def _add(self, what: bytes, number: bytes, moment: bytes, _: bytes) -> None:
        if what == b'start':
            self._starts[int(number)] += 1
        else:
            self._ends[int(number)] += 1
            self._log.append(Run(int(number), float(moment)))
