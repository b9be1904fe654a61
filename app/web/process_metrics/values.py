"""What is in the files: prometheus_client's format, and how values of several become one.

A value is two numbers: the value itself and, for gauges of which the most recent counts, when it
was set. What else is added up has in its place, once folded, what the sum lost to rounding. Without
it a sum of seconds could come out a trifle smaller once a process has ended, which Prometheus takes
for a restart.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from prometheus_client.mmap_dict import MmapedDict

__all__ = ['Series', 'Value', 'combine', 'encode', 'parse', 'read']

Value = tuple[float, float]
_HEADER = struct.Struct('=ii')
#: What reading a file raises that was only half written.
_FAULTS = (struct.error, RuntimeError, ValueError)


class Series(NamedTuple):
    """What a key says: the metric, and which of its samples this is."""

    metric: str
    sample: str
    labels: tuple[tuple[str, str], ...]


@lru_cache(maxsize=20_000)
def parse(key: str) -> tuple[Series, str]:
    """Return what a key says, and the metric's help; raise ValueError when it says nothing."""
    parts = json.loads(key)
    if not isinstance(parts, list) or len(parts) != 4 or not isinstance(parts[2], dict):
        raise ValueError(f'{key!r} is no key of a metric')
    metric, sample, labels, text = parts
    return Series(metric, sample, tuple(sorted(labels.items()))), text


def read(path: Path) -> tuple[dict[str, Value], Exception | None]:
    """Return the values of a file by key, up to a fault, and the fault.

    Raises OSError when the file cannot be read at all.
    """
    values: dict[str, Value] = {}
    try:
        for key, value, second, _ in MmapedDict.read_all_values_from_file(path):
            parse(key)
            values[key] = value, second
    except _FAULTS as error:
        return values, error
    return values, None


def encode(values: Mapping[str, Value]) -> bytes:
    """Return a file with these values.

    To be written as a whole: through a memory map, as prometheus_client does, a full disk would
    end the process.
    """
    entries = []
    for key, (value, second) in values.items():
        text = key.encode()
        width = len(text) + 8 - (len(text) + 4) % 8
        padded = text.ljust(width)
        entries.append(struct.pack(f'=i{width}sdd', len(text), padded, value, second))
    body = b''.join(entries)
    return _HEADER.pack(_HEADER.size + len(body), 0) + body


def combine(kind: str, values: Sequence[Value]) -> Value:
    """Return the one value that several of a kind of files amount to."""
    mode = kind.partition('_')[2].removeprefix('live')
    if mode == 'min':
        return min(values)
    if mode == 'max':
        return max(values)
    if mode == 'mostrecent':
        return max(values, key=lambda value: value[1])
    parts = [part for value in values for part in value]
    total = _sum(parts)
    return total, _sum([*parts, -total]) if math.isfinite(total) else 0.0


def _sum(parts: Iterable[float]) -> float:
    try:
        return math.fsum(parts)  # right to the last digit, in whichever order
    except (OverflowError, ValueError):  # infinite ones
        return sum(parts)
