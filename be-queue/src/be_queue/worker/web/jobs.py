"""Actions on dead letters, each in a thread: a request waits a few seconds for its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ['Job', 'Jobs']

#: How long a request waits.
PATIENCE_SECONDS = 3.0


@dataclass
class Job:
    """An action on the dead letters of a queue.

    Arguments:
        action: what is done to them, as a participle.
        count: dead letters so far.
        error: why it stopped early.
    """

    action: str
    count: int = 0
    error: str = ''
    is_running: bool = True


class Jobs:
    """Jobs by queue, of which one runs at a time."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def get(self, queue: str) -> Job | None:
        """Return the job that runs, or has ended since its request was answered."""
        return self._jobs.get(queue)

    def run(self, queue: str, action: str, work: Callable[[Job], None]) -> Job | None:
        """Run a job, and return it when it ends or some seconds later; None while another runs."""
        job = Job(action)
        with self._lock:
            if (latest := self._jobs.get(queue)) and latest.is_running:
                return None
            self._jobs[queue] = job

        def run() -> None:
            try:
                work(job)
            finally:
                job.is_running = False

        thread = threading.Thread(target=run, name=f'{action} {queue}', daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        with self._lock:
            if not job.is_running and self._jobs.get(queue) is job:
                del self._jobs[queue]  # its request says how it ended
        return job
