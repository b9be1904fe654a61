from __future__ import annotations

import math
import mmap
import uuid
from collections import defaultdict

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from app.config.configuration import load_config
from app.utils.metrics.quick import QuickCounter, QuickHistogram

BUCKETS = (0.1, 1, 10)
VALUES = (-1, 0.05, 0.1, 0.5, 1, 11, 1e9, math.inf)


@pytest.fixture
def name() -> str:
    return f'quick_{uuid.uuid4().hex}'


def counter(name: str) -> Counter:
    return Counter(name, 'a counter', ['label'], registry=None)


def histogram(name: str) -> Histogram:
    return Histogram(name, 'a histogram', ['label'], buckets=BUCKETS, registry=None)


def scraped(name: str) -> dict[tuple[str, str | None], float]:
    """Return what the files of this process hold, as a scrape reads them: sums of all labels."""
    found: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    folder = str(load_config().prometheus_multiproc_dir)
    for metric in MultiProcessCollector(CollectorRegistry(), folder).collect():
        for sample in metric.samples:
            if sample.name.startswith(name):
                found[sample.name.removeprefix(name), sample.labels.get('le')] += sample.value
    return dict(found)


def test_a_scrape_sees_each_count_at_once(name: str) -> None:
    counted = QuickCounter(counter(name).labels('a'))
    assert scraped(name) == {('_total', None): 0}
    counted.inc()
    assert scraped(name) == {('_total', None): 1}
    counted.inc(2.5)
    assert scraped(name) == {('_total', None): 3.5}


def test_it_counts_beside_the_client(name: str) -> None:
    theirs = counter(name).labels('a')
    theirs.inc(3)
    counted = QuickCounter(theirs)
    counted.inc()
    theirs.inc()
    counted.inc()
    assert scraped(name) == {('_total', None): 6}


def test_it_counts_on_in_a_file_that_has_grown(name: str) -> None:
    many = counter(name)
    counted = QuickCounter(many.labels('first'))
    for number in range(1000):  # of some 150 bytes: the file begins with 64 KiB
        many.labels(f'{number}')
    counted.inc()
    assert scraped(name) == {('_total', None): 1}


class Pieces:
    """Takes what is written in one piece alone, and notes it; no buffer for others to fill."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.written: list[slice] = []

    def __setitem__(self, place: slice, piece: bytes) -> None:
        self.written.append(place)
        self.memory[place] = piece


def test_a_scrape_never_sees_a_count_half_written(name: str) -> None:
    theirs = counter(name).labels('a')
    counted = QuickCounter(theirs)
    file: MmapedDict = theirs._value._file
    memory = file._m
    file._m = pieces = Pieces(memory)
    try:
        counted.inc(2)
    finally:
        file._m = memory
    (place,) = pieces.written
    # Eight bytes at a multiple of eight are written, and read, at once.
    assert (place.start % 8, place.stop - place.start) == (0, 8)
    assert scraped(name) == {('_total', None): 2}


def test_observations_are_those_of_the_client(name: str) -> None:
    theirs, ours = histogram(f'{name}_theirs').labels('a'), histogram(f'{name}_ours').labels('a')
    quick = QuickHistogram(ours)
    for value in VALUES:
        theirs.observe(value)
        quick.observe(value)
    expected = scraped(f'{name}_theirs')
    assert expected['_count', None] == len(VALUES)
    assert scraped(f'{name}_ours') == expected
