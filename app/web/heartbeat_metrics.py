"""Metrics of what only the worker's event loop knows: read from its heartbeat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.utils import heartbeat
from app.utils.heartbeat import Load, Poller
from app.utils.heartbeat import State as WorkerState
from be_queue.transport.poller import State

__all__ = ['HeartbeatCollector']


class HeartbeatCollector(Collector):
    """The event loop, its pollers, and what the pool has to do.

    Arguments:
        path: the heartbeat's file.
        prefix: first part of the metrics' names.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the metrics without values."""
        return [self._age(), *self._of_pollers(), *self._of_load()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        beat = heartbeat.read(self._path)
        if beat is None:
            return
        now = time.time()
        # The event loop of a worker that stops has ended, while its last tasks run.
        if beat.state is WorkerState.CONSUMING:
            age = self._age()
            age.add_metric([], beat.age)
            yield age
            since, states, ages = self._of_pollers()
            for queue, poller in beat.pollers.items():
                _add_poller(queue, poller, since, states)
                ages.add_metric([queue], _since(poller.oldest_due, now))
            yield from (since, states, ages)
        if beat.load is not None:
            yield from self._filled(beat.load, now)

    def _filled(self, load: Load, now: float) -> tuple[GaugeMetricFamily, ...]:
        processes, oldest, prefetched = families = self._of_load()
        processes.add_metric(['busy'], load.busy)
        processes.add_metric(['idle'], load.processes - load.busy)
        oldest.add_metric([], _since(load.oldest_start, now))
        for queue, count in load.prefetched.items():
            prefetched.add_metric([queue], count)
        return families

    def _age(self) -> GaugeMetricFamily:
        return self._gauge(
            'worker_heartbeat_age_seconds',
            "Since the worker's event loop last turned; while it consumes.",
        )

    def _of_pollers(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            self._gauge(
                'poller_seconds_since_receive',
                'Seconds since the last receive from the queue ended, well or badly.',
                'queue',
            ),
            self._gauge(
                'poller_state',
                f'1 for what the poller of the queue does: {", ".join(s.value for s in State)}.',
                'queue',
                'state',
            ),
            self._gauge(
                'queue_oldest_message_age_estimate_seconds',
                'Since the oldest message of the last receive was sent, or due if that is later; '
                '0 after a receive without messages.',
                'queue',
            ),
        )

    def _of_load(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
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
        )

    def _gauge(self, name: str, what: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f'{self._prefix}_{name}', what, labels=labels)


def _add_poller(
    queue: str, poller: Poller, since: GaugeMetricFamily, states: GaugeMetricFamily
) -> None:
    since.add_metric([queue], poller.age)
    for state in State:
        states.add_metric([queue, state.value], float(state.value == poller.state))


def _since(moment: float | None, now: float) -> float:
    return 0.0 if moment is None else max(0.0, now - moment)
