"""The metrics of all processes together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

__all__ = ['ProcessCollector']


class ProcessCollector(Collector):
    """Adds up what the processes have counted, including those that have ended.

    Arguments:
        folder: the metrics directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        # A file is empty for a moment when a process creates it, and the client fails on it.
        files = [path for path in self._folder.glob('*.db') if path.stat().st_size]
        metrics: Iterable[Metric] = MultiProcessCollector.merge(files)
        return metrics
