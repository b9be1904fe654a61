"""Reports of tasks that ran: one short append to a file, the same for every contender."""

from __future__ import annotations

import os
import struct
import uuid
from pathlib import Path

__all__ = ['Recorder', 'Records']

#: The task's id, and when it ran by the system-wide monotonic clock.
_RECORD = struct.Struct('=16sd')


class Recorder:
    """Appends records; a write with O_APPEND is whole, whoever else writes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, task_id: str, when: float) -> None:
        """Record that a task ran."""
        os.write(self._file, _RECORD.pack(uuid.UUID(task_id).bytes, when))


class Records:
    """Reads the reports so far.

    Arguments:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self) -> int:
        """Return how many reports there are, second runs of a task included."""
        try:
            return self._path.stat().st_size // _RECORD.size
        except FileNotFoundError:
            return 0

    def first_runs(self) -> dict[str, float]:
        """Return when each task ran for the first time, by task id."""
        found: dict[str, float] = {}
        if size := self.count() * _RECORD.size:
            for raw_id, when in _RECORD.iter_unpack(self._path.read_bytes()[:size]):
                task_id = str(uuid.UUID(bytes=raw_id))
                found[task_id] = min(when, found.get(task_id, when))
        return found
