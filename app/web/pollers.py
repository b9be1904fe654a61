"""Metrics of the pollers, which only the worker's event loop knows: read from its heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.utils import heartbeat
from be_queue.transport.receiving.polling import State

__all__ = ['PollerCollector']


class PollerCollector(Collector):
    """State of each poller, and seconds since its last receive.

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
            GaugeMetricFamily(
                f'{self._prefix}_poller_seconds_since_receive',
                'Seconds since the last receive from the queue ended, well or badly.',
                labels=['queue'],
            ),
            GaugeMetricFamily(
                f'{self._prefix}_poller_state',
                f'1 for what the poller of the queue does: {", ".join(s.value for s in State)}.',
                labels=['queue', 'state'],
            ),
        ]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        beat = heartbeat.read(self._path)
        since, states = self.describe()
        for queue, poller in (beat.pollers if beat else {}).items():
            since.add_metric([queue], poller.age)
            for state in State:
                states.add_metric([queue, state.value], float(state.value == poller.state))
        yield since
        yield states
