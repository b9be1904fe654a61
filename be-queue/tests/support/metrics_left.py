"""The metrics that a server has left when it has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from be_queue.worker.web.metrics import ProcessCollector

__all__ = ['counted_in']


def counted_in(folder: Path) -> Callable[..., float]:
    """Return what sums up a metric of a metrics directory, as `Server.metric` does."""
    samples = [sample for metric in ProcessCollector(folder).collect() for sample in metric.samples]

    def counted(name: str, /, **labels: str) -> float:
        return sum(
            sample.value
            for sample in samples
            if sample.name == f'python_backend_worker_template_{name}'
            and labels.items() <= sample.labels.items()
        )

    return counted
