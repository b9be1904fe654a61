from __future__ import annotations

import math
import uuid

import pytest
from prometheus_client import CollectorRegistry, Histogram

from app.utils.metrics.define import observe_all

BUCKETS = (0.1, 1, 10)


@pytest.mark.parametrize(
    'values',
    [[], [0.5], [0.1, 1, 10], [-1, 0.05, 0.05, 5, 11, 1e9, math.inf]],
    ids=['none', 'one', 'bounds', 'all'],
)
def test_values_observed_together_count_as_each_by_itself(values: list[float]) -> None:
    together, by_itself = CollectorRegistry(), CollectorRegistry()
    # Two of one name would be one in the files.
    name, other = f'unit_{uuid.uuid4().hex}', f'unit_{uuid.uuid4().hex}'
    observe_all(Histogram(name, '', buckets=BUCKETS, registry=together), values)
    metric = Histogram(other, '', buckets=BUCKETS, registry=by_itself)
    for value in values:
        metric.observe(value)
    assert samples(together, name) == samples(by_itself, other)


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, str | None], float]:
    return {
        (sample.name.removeprefix(name), sample.labels.get('le')): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith('_created')
    }
