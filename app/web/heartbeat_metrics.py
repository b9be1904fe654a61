"""Metrics that only the worker's event loop knows: read from its heartbeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.utils import heartbeat
from app.utils.heartbeat import State as WorkerState
from app.utils.heartbeat import seconds_since
from be_queue.transport.poller import State

__all__ = ['HeartbeatCollector']

STATES = [state.value for state in State]
#: By name: what it is, and its labels.
GAUGES: dict[str, tuple[str, Sequence[str]]] = {
    'worker_heartbeat_age_seconds': (
        "Since the worker's event loop last turned; while it consumes.",
        (),
    ),
    'poller_seconds_since_receive': (
        'Seconds since the last receive from the queue ended, well or badly.',
        ('queue',),
    ),
    'poller_state': (
        f'1 for what the poller of the queue does: {", ".join(STATES)}.',
        ('queue', 'state'),
    ),
    'queue_oldest_message_age_estimate_seconds': (
        'Since the oldest message of the last receive was sent, or due if that is later; '
        '0 after a receive without messages.',
        ('queue',),
    ),
    'pool_processes': ('Processes of the pool: busy or idle.', ('state',)),
    'tasks_oldest_running_seconds': (
        'For how long the oldest running task has been running; 0 when none runs.',
        (),
    ),
    'consumer_prefetched_messages': (
        'Messages that the worker holds and no process has begun.',
        ('queue',),
    ),
}


class HeartbeatCollector(Collector):
    """The event loop, its pollers, and the load of the pool.

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
            GaugeMetricFamily(f'{self._prefix}_{name}', what, labels=labels)
            for name, (what, labels) in GAUGES.items()
        ]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauges = dict(zip(GAUGES, self.describe(), strict=True))
        for name, labels, value in self._values():
            gauges[name].add_metric(labels, value)
        return (gauge for gauge in gauges.values() if gauge.samples)

    def _values(self) -> Iterator[tuple[str, list[str], float]]:
        beat = heartbeat.read(self._path)
        # The event loop of a worker that stops has ended, while its last tasks run.
        if beat and beat.state is WorkerState.CONSUMING:
            yield 'worker_heartbeat_age_seconds', [], beat.age
            for queue, poller in beat.pollers.items():
                yield 'poller_seconds_since_receive', [queue], poller.age
                for state in STATES:
                    yield 'poller_state', [queue, state], float(state == poller.state)
                age = seconds_since(poller.oldest_due)
                yield 'queue_oldest_message_age_estimate_seconds', [queue], age
        if beat and (load := beat.load):
            yield 'pool_processes', ['busy'], load.busy
            yield 'pool_processes', ['idle'], load.processes - load.busy
            yield 'tasks_oldest_running_seconds', [], seconds_since(load.oldest_start)
            for queue, count in load.prefetched.items():
                yield 'consumer_prefetched_messages', [queue], count
