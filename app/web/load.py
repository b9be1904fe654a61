"""Metrics of what the worker has to do, which only its event loop knows: from its heartbeat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.utils import heartbeat

__all__ = ['LoadCollector']


class LoadCollector(Collector):
    """What runs, what waits for a process, and for how long.

    Arguments:
        path: the heartbeat's file.
        prefix: first part of the metrics' names.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the metrics without values."""
        return [
            self._gauge('pool_processes', 'Processes of the pool: busy or idle.', 'state'),
            self._gauge(
                'tasks_oldest_running_seconds',
                'For how long the oldest running task has been running; 0 when none runs.',
            ),
            self._gauge(
                'consumer_prefetched_messages',
                'Messages that the worker holds and no process has begun.',
                'queue',
            ),
            self._gauge(
                'queue_oldest_message_age_estimate_seconds',
                'Since the oldest message of the last receive was sent, or due if that is later; '
                '0 after a receive without messages.',
                'queue',
            ),
        ]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        beat = heartbeat.read(self._path)
        if beat is None or beat.load is None:
            return
        processes, oldest, prefetched, ages = self.describe()
        load, now = beat.load, time.time()
        processes.add_metric(['busy'], load.busy)
        processes.add_metric(['idle'], load.processes - load.busy)
        oldest.add_metric([], _since(load.oldest_start, now))
        for queue, count in load.prefetched.items():
            prefetched.add_metric([queue], count)
        for queue, poller in beat.pollers.items():
            ages.add_metric([queue], _since(poller.oldest_due, now))
        yield from (processes, oldest, prefetched, ages)

    def _gauge(self, name: str, what: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f'{self._prefix}_{name}', what, labels=labels)


def _since(moment: float | None, now: float) -> float:
    return 0.0 if moment is None else max(0.0, now - moment)
