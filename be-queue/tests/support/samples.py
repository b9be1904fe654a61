"""Values of collectors, by name and labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

__all__ = ['samples']


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the values; fail when a sample is there twice."""
    found = [sample for metric in metrics for sample in metric.samples]
    values = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in found}
    assert len(values) == len(found), 'a sample is there twice'
    return values
