"""What the worker has done since it started, by queue, as its metrics say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from celery import states

from app.web.process_metrics import ProcessCollector

__all__ = ['Counts', 'CountsProbe']


@dataclass
class Counts:
    """Tasks by what became of them, and the time that attempts took.

    Arguments:
        received: messages taken from the queue.
        succeeded, retried, failed: attempts that ended so.
        attempts: attempts that ended in any way.
        seconds: the time of all those attempts together.
    """

    received: float = 0
    succeeded: float = 0
    retried: float = 0
    failed: float = 0
    attempts: float = 0
    seconds: float = 0

    @property
    def mean_runtime(self) -> float | None:
        """Seconds that an attempt takes; None before the first has ended."""
        return self.seconds / self.attempts if self.attempts else None

    def shares(self) -> list[tuple[str, float, float]]:
        """Return kind, start and width in percent of a bar of succeeded, retried and failed."""
        ended = self.succeeded + self.retried + self.failed
        bar, start = [], 0.0
        for kind in ('succeeded', 'retried', 'failed'):
            width = 100 * getattr(self, kind) / ended if ended else 0
            bar.append((kind, start, width))
            start += width
        return bar

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{kind: value + getattr(other, kind) for kind, value in vars(self).items()})


class CountsProbe:
    """Adds up the metrics of all processes by queue and keeps the sums.

    Arguments:
        prefix: what every metric's name starts with.
        processes: collects the metrics.
    """

    def __init__(self, prefix: str, processes: ProcessCollector) -> None:
        self._processes = processes
        # Metric and state to the number that they add to.
        self._counted = {
            (f'{prefix}_consumer_tasks_count_total', states.RECEIVED): 'received',
            (f'{prefix}_worker_tasks_count_total', states.SUCCESS): 'succeeded',
            (f'{prefix}_worker_tasks_count_total', states.RETRY): 'retried',
            (f'{prefix}_worker_tasks_count_total', states.FAILURE): 'failed',
            # Of children that were lost, or killed at the time limit.
            (f'{prefix}_consumer_tasks_count_total', states.FAILURE): 'failed',
            (f'{prefix}_tasks_runtime_seconds_count', None): 'attempts',
            (f'{prefix}_tasks_runtime_seconds_sum', None): 'seconds',
        }
        self.by_queue: Mapping[str, Counts] = {}

    def __call__(self) -> None:
        by_queue: defaultdict[str, Counts] = defaultdict(Counts)
        for metric in self._processes.collect():
            for sample in metric.samples:
                counted = self._counted.get((sample.name, sample.labels.get('state')))
                if counted:
                    counts = by_queue[sample.labels['queue']]
                    setattr(counts, counted, getattr(counts, counted) + sample.value)
        self.by_queue = by_queue
