"""Defines metrics, each with METRICS_PREFIX in front of its name."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from app.config.configuration import load_config

__all__ = ['counter', 'gauge', 'histogram']

_PREFIX = load_config().prefix


def counter(name: str, what: str, *labels: str) -> Counter:
    """Return a counter; the client ends its name in ``_total``.

    Arguments:
        what: its help; short, since it is a part of each value's key.
        labels: the names of labels, whose values must be few.
    """
    return Counter(f'{_PREFIX}_{name}', what, labels)


def histogram(name: str, what: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    """Return a histogram; ``buckets`` are upper bounds, in base units. See `counter`."""
    return Histogram(f'{_PREFIX}_{name}', what, labels, buckets=buckets)


def gauge(name: str, what: str, *labels: str) -> Gauge:
    """Return a gauge with the last value that a living process has set. See `counter`."""
    return Gauge(f'{_PREFIX}_{name}', what, labels, multiprocess_mode='livemostrecent')
