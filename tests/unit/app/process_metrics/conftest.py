"""Files as processes leave them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.web.process_metrics import ProcessCollector
from tests.support.samples import samples

Write = Callable[..., Path]


@pytest.fixture(scope='session')
def ended() -> Callable[[], int]:
    """Return a function that returns numbers of processes that have ended, a new one each time."""

    def pid() -> int:
        process = subprocess.Popen([sys.executable, '-S', '-c', ''])
        process.wait()
        return process.pid

    return pid


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file of a process: ``kind``, pid and values by sample.

    A sample is a name, or a name and the value of the label ``queue`` or, of a bucket, of ``le``.
    """

    def write(kind: str, pid: int, values: dict[str | tuple[str, str], float]) -> Path:
        path = tmp_path / f'{kind}_{pid}.db'
        file = MmapedDict(str(path))
        for sample, value in values.items():
            name, label = (sample, '') if isinstance(sample, str) else sample
            metric = name.removesuffix('_total').removesuffix('_bucket').removesuffix('_sum')
            label_name = 'le' if name.endswith('_bucket') else 'queue'
            key = mmap_key(metric, name, [label_name], [label], 'help') if label else None
            timestamp = 1000.0 + value if kind.endswith('mostrecent') else 0.0
            file.write_value(key or mmap_key(metric, name, [], [], 'help'), value, timestamp)
        file.close()
        return path

    return write


@pytest.fixture
def collector(tmp_path: Path) -> ProcessCollector:
    """A collector of what `write` has written."""
    return ProcessCollector(tmp_path)


def value(collector: ProcessCollector, name: str, **labels: str) -> float | None:
    """Return one value; None when it is not there."""
    return samples(collector.collect()).get((name, tuple(sorted(labels.items()))))
