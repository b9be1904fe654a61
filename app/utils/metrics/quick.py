"""Counts without the client's checks, which take longer than the count: for what each task does.

The values stay the client's, which others may use beside this. Bound to a process: made anew in
each, after its fork.
"""

from __future__ import annotations

from bisect import bisect_left
from struct import Struct
from typing import Any

from prometheus_client import Counter, Histogram

__all__ = ['QuickCounter', 'QuickHistogram']

#: A value, as the client keeps it in its files; the time beside it is for gauges.
_packed = Struct('=d').pack
_WIDTH = 8


class QuickCounter:
    """A counter of the client's, with its labels."""

    __slots__ = ('_file', '_place', '_value')

    def __init__(self, counter: Counter) -> None:
        self._bind(counter._value)

    def _bind(self, value: Any) -> None:
        value.inc(0)  # which notices that this is another process
        self._value = value
        self._file = value._file
        position = value._file._positions[value._key]
        self._place = slice(position, position + _WIDTH)

    def inc(self, amount: float = 1.0) -> None:
        """Add to it; from one thread of the process."""
        value = self._value
        total = value._value = value._value + amount
        # In one piece: pack_into() writes zeros first, which a scrape would take for a restart. The
        # file's memory is another once it has grown.
        self._file._m[self._place] = _packed(total)


class _Part(QuickCounter):
    """A bucket of a histogram, or its sum."""

    __slots__ = ()

    def __init__(self, value: Any) -> None:
        self._bind(value)


class QuickHistogram:
    """A histogram of the client's, with its labels."""

    __slots__ = ('_bounds', '_buckets', '_sum')

    def __init__(self, histogram: Histogram) -> None:
        self._bounds = histogram._upper_bounds
        self._buckets = [_Part(bucket) for bucket in histogram._buckets]
        self._sum = _Part(histogram._sum)

    def observe(self, value: float) -> None:
        """Add an observation; from one thread of the process."""
        self._sum.inc(value)
        self._buckets[bisect_left(self._bounds, value)].inc()
