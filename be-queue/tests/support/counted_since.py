"""Counts of metrics in this process since a moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from app.config.configuration import load_config

__all__ = ['Counted']


class Counted:
    """Sums up samples by name, without the prefix, and by labels, since this was made.

    Arguments:
        registry: has the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._prefix = load_config().prefix
        self._before = {self._key(sample): sample.value for sample in self._samples()}

    def __call__(self, name: str, /, **labels: str) -> float:
        return sum(
            sample.value - self._before.get(self._key(sample), 0.0)
            for sample in self._samples()
            if sample.name == f'{self._prefix}_{name}' and labels.items() <= sample.labels.items()
        )

    def _samples(self) -> Iterator[Sample]:
        return (sample for metric in self._registry.collect() for sample in metric.samples)

    @staticmethod
    def _key(sample: Sample) -> tuple[Any, ...]:
        return sample.name, *sorted(sample.labels.items())
