"""The format of the files is prometheus_client's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from app.web.process_metrics.values import combine, encode, read


def test_prometheus_client_reads_what_is_written(tmp_path: Path) -> None:
    # Names of all lengths, since they are padded, and more than it reads at once.
    values = {
        mmap_key('c', f'c_{"é" * length}', ['l'], ['v' * length], 'help'): (
            length / 3,
            1.0 * length,
        )
        for length in range(200)
    }
    path = tmp_path / 'counter_1.db'
    path.write_bytes(encode(values))
    assert read(path) == (values, None)
    file = MmapedDict(str(path), read_mode=True)
    assert {key: (value, second) for key, value, second in file.read_all_values()} == values
    file.close()
    (metric,) = MultiProcessCollector(None, str(tmp_path)).collect()
    assert len(metric.samples) == 200


@pytest.mark.parametrize(
    ('kind', 'values', 'result'),
    [
        ('counter', [(1, 0), (2, 0)], 3),
        ('gauge_livesum', [(1, 0), (-2, 0)], -1),
        ('gauge_min', [(1, 0), (-2, 0)], -2),
        ('gauge_livemax', [(1, 0), (-2, 0)], 1),
        ('gauge_mostrecent', [(1, 30), (5, 20)], 1),
        ('counter', [(math.inf, 0), (1, 0)], math.inf),
        ('counter', [(1e308, 0), (1e308, 0)], math.inf),
    ],
)
def test_values_become_one(kind: str, values: list[tuple[float, float]], result: float) -> None:
    assert combine(kind, values)[0] == result


def test_what_a_sum_loses_to_rounding_is_kept() -> None:
    folded = (0.0, 0.0)
    for _ in range(1000):
        folded = combine('counter', [folded, (0.1, 0.0)])
    assert folded[0] == math.fsum([0.1] * 1000)
