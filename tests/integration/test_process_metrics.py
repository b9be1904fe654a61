"""Metrics of pool processes that come and go, read while they do."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from app.web.metrics import ProcessCollector
from tests.support.process import running
from tests.support.recycled import PROCESSES, QUEUES
from tests.support.samples import samples

TASKS = 16
KILLS = 4


def counted(collector: ProcessCollector) -> dict[str, float]:
    found = samples(collector.collect())
    return {
        f'{name}{dict(labels)}'.partition('_template_')[2]: v for (name, labels), v in found.items()
    }


def watched(folder: Path, *arguments: str) -> dict[str, float]:
    """Run a pool, watch that no count goes back meanwhile, and return the counts at the end."""
    folder.mkdir()
    collector = ProcessCollector(folder)
    environment = {'PROMETHEUS_MULTIPROC_DIR': str(folder)}
    command = ['-m', 'tests.support.recycled', *arguments]
    with running(command, environment, folder.parent / 'log') as program:
        before: dict[str, float] = {}
        looks = 0
        while program.process.poll() is None:
            now = counted(collector)
            assert [key for key in before if now.get(key, -1) < before[key]] == []
            before, looks = now, looks + bool(now)
        assert program.process.returncode == 0, program.log
    assert looks > 2, 'too few to show anything'
    return counted(collector)


def test_recycled_processes_lose_no_count_and_leave_no_files(tmp_path: Path) -> None:
    folder = tmp_path / 'metrics'
    found = watched(folder, 'recycle', str(TASKS))
    for place, queue in enumerate(QUEUES):
        label = {'queue': queue}
        assert found[f'tasks_total{label}'] == found[f'seconds_count{label}'] == TASKS
        expected = 0.0
        for number in range(TASKS):
            random.seed(number)
            expected += [random.uniform(0, 10) for _ in QUEUES][place]
        assert found[f'seconds_sum{label}'] == pytest.approx(expected)
    # One for each slot of the pool, and one for the process that made the metrics.
    assert len(list(folder.glob('counter_*.db'))) <= PROCESSES + 1


def test_processes_that_are_killed_while_they_count_lose_no_count(tmp_path: Path) -> None:
    begun = tmp_path / 'begun'
    found = watched(tmp_path / 'metrics', 'kill', str(KILLS), str(begun))
    total = begun.stat().st_size
    # A count that was begun when the kill came may be missing.
    assert total - KILLS <= found["tasks_total{'queue': 'a'}"] <= total
