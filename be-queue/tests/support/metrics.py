"""Values of metrics: of collectors, of this process since a moment, and of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import REGISTRY
from prometheus_client.core import Metric

from app.config.configuration import load_config
from be_queue.testing.waiting import wait_until

__all__ = ['Counted', 'samples', 'wait_metric']

Labels = tuple[tuple[str, str], ...]


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, Labels], float]:
    """Return the values by name and labels; fail when a sample is there twice."""
    found = [sample for metric in metrics for sample in metric.samples]
    values = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in found}
    assert len(values) == len(found), 'a sample is there twice'
    return values


class Counted:
    """Sums up what this process has counted since this was made, as `Worker.metric` does."""

    def __init__(self) -> None:
        self._before = samples(REGISTRY.collect())

    def __call__(self, name: str, /, **labels: str) -> float:
        return sum(
            value - self._before.get((full_name, given), 0.0)
            for (full_name, given), value in samples(REGISTRY.collect()).items()
            if full_name == f'{load_config().prefix}_{name}' and labels.items() <= {*given}
        )


def wait_metric(metric: Callable[..., float], name: str, value: float, /, **labels: str) -> None:
    """Wait until a metric has a value.

    Arguments:
        metric: `Worker.metric`, or a function like it.
    """
    wait_until(lambda: metric(name, **labels) == value, f'{name} {labels} is {value}')
