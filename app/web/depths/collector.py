"""Metrics of the depths of queues."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.web.depths.poller import DepthPoller

__all__ = ['DepthCollector']

Families = tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, CounterMetricFamily]


class DepthCollector(Collector):
    """Serves what a poller knows, without asking.

    Arguments:
        prefix: first part of the metrics' names.
        poller: None for the description alone.
    """

    def __init__(self, prefix: str, poller: DepthPoller | None = None) -> None:
        self._prefix = prefix
        self._poller = poller

    def describe(self) -> list[Metric]:
        """Return the metrics without values."""
        return list(self._families())

    def collect(self) -> list[Metric]:
        messages, dead, age, errors = families = self._families()
        for queue, figures in self._poller.figures().items() if self._poller else ():
            age.add_metric([queue], figures.age)
            errors.add_metric([queue], figures.errors)
            depth = figures.depth
            if depth is None:
                continue
            counts = {
                'visible': depth.visible,
                'in flight': depth.in_flight,
                'delayed': depth.delayed,
            }
            for state, count in counts.items():
                if count is not None:
                    messages.add_metric([queue, state], count)
            if depth.dead_letters is not None:
                dead.add_metric([queue], depth.dead_letters)
        return list(families)

    def _families(self) -> Families:
        return (
            GaugeMetricFamily(
                f'{self._prefix}_queue_messages',
                'Messages in the queue by state, as SQS estimates: visible, in flight, delayed.',
                labels=['queue', 'state'],
            ),
            GaugeMetricFamily(
                f'{self._prefix}_queue_dead_letters',
                "Messages in the queue's dead-letter queue.",
                labels=['queue'],
            ),
            GaugeMetricFamily(
                f'{self._prefix}_queue_depth_age_seconds',
                'Since SQS was asked for these numbers; until it first answers, since the start.',
                labels=['queue'],
            ),
            CounterMetricFamily(
                f'{self._prefix}_queue_depth_errors',
                'Times that SQS was asked about the queue and its dead-letter queue in vain.',
                labels=['queue'],
            ),
        )
