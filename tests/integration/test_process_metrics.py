"""Metrics of processes that come and go, read while they do."""

from __future__ import annotations

import json
import math
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from app.web.process_metrics import ProcessCollector
from tests.support.process import Program, running
from tests.support.recycled import QUEUES
from tests.support.samples import samples

CHILDREN = 200


def recycling(folder: Path, children: int) -> AbstractContextManager[Program]:
    return running(
        ['-m', 'tests.support.recycled', str(children)],
        {'PROMETHEUS_MULTIPROC_DIR': str(folder)},
        folder.parent / 'log',
    )


def counted(collector: ProcessCollector) -> dict[str, float]:
    """Return what must never shrink."""
    return {
        f'{name}{dict(labels)}': value
        for (name, labels), value in samples(collector.collect()).items()
        if name != 'latest'
    }


def test_no_count_ever_goes_back_and_none_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / 'metrics'
    folder.mkdir()
    # As two web servers would, each with several scrapes at a time.
    collectors = [ProcessCollector(folder) for _ in range(2)]

    def watch(program: Program, collector: ProcessCollector) -> int:
        before: dict[str, float] = {}
        looks = 0
        while program.process.poll() is None:
            now = counted(collector)
            assert [key for key in before if now.get(key, -1) < before[key]] == []
            before = now
            looks += 1
        return looks

    with recycling(folder, CHILDREN) as program, ThreadPoolExecutor(4) as threads:
        watches = [threads.submit(watch, program, collectors[n % 2]) for n in range(4)]
        looks = sum(each.result() for each in watches)
        assert program.process.returncode == 0
    assert looks > 20, 'too few to show anything'

    expected: dict[str, list[float]] = {queue: [] for queue in QUEUES}
    for number in range(CHILDREN):
        random.seed(number)
        for queue in QUEUES:
            expected[queue].append(random.uniform(0, 10))
    found = counted(collectors[0])
    for queue in QUEUES:
        label = {'queue': queue}
        assert found[f'tasks_total{label}'] == found[f'seconds_count{label}'] == CHILDREN
        assert found[f'seconds_sum{label}'] == math.fsum(expected[queue])
    assert found['largest{}'] == CHILDREN - 1
    kinds = ('counter', 'gauge_max', 'histogram')
    assert sorted(path.name.partition('.')[0] for path in folder.iterdir()) == sorted(kinds)


def test_a_folder_that_is_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / 'metrics'
    folder.mkdir()
    with recycling(folder, 5) as program:
        assert program.ends(timeout=30) == 0
    ProcessCollector(folder).fold()
    with recycling(folder, 5) as program:
        assert program.ends(timeout=30) == 0
    arguments = ['-m', 'tests.support.killed_folding', str(folder)]
    with running(arguments, {}, tmp_path / 'killed.log') as folding:
        assert folding.ends(timeout=60) == 0
        found = [json.loads(line) for line in folding.log.splitlines()]
    expected = counted(ProcessCollector(folder))
    assert expected["tasks_total{'queue': 'a'}"] == 10
    assert len(found) > 20, 'killed too seldom to show anything'
    for values in found:
        values.pop('latest{}', None)
        assert values == expected
