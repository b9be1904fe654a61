"""Metrics of pool processes that are killed while they count, read meanwhile."""

from __future__ import annotations

from pathlib import Path

from be_queue.worker.web.metrics import ProcessCollector
from tests.support.process import running

KILLS = 3
#: Kills the process of a pool again and again; a file has a byte for each count that was begun.
PROGRAM = f"""
import os, signal, sys
from pathlib import Path

import billiard
from celery import signals

from be_queue.testing.waiting import wait_until
from be_queue.worker.metrics import counter

TASKS = counter('tasks', 'Tasks.')
path = Path(sys.argv[1])

def start():
    signals.worker_process_init.send(sender=None)

def count_for_ever():
    path.with_suffix('.pid').write_text(str(os.getpid()))
    with path.open('ab', buffering=0) as begun:
        while True:
            begun.write(b'.')
            TASKS.inc()

path.touch()
with billiard.Pool(1, initializer=start, lost_worker_timeout=0.1) as pool:
    for _ in range({KILLS}):
        result = pool.apply_async(count_for_ever)
        enough = path.stat().st_size + 50
        wait_until(lambda: path.stat().st_size >= enough, 'the process counts')
        os.kill(int(path.with_suffix('.pid').read_text()), signal.SIGKILL)
        result.wait(30)
"""


def counted(collector: ProcessCollector) -> float:
    found = [sample for metric in collector.collect() for sample in metric.samples]
    return sum(sample.value for sample in found if sample.name.endswith('_tasks_total'))


def test_processes_that_are_killed_while_they_count_lose_no_count(tmp_path: Path) -> None:
    folder, begun = tmp_path / 'metrics', tmp_path / 'begun'
    folder.mkdir()
    collector = ProcessCollector(folder)
    environment = {'PROMETHEUS_MULTIPROC_DIR': str(folder)}
    with running(['-c', PROGRAM, str(begun)], environment, tmp_path / 'log') as program:
        before = looks = 0.0
        while program.process.poll() is None:
            now = counted(collector)
            assert now >= before, 'a count has gone back'
            before, looks = now, looks + (now > before)
        assert program.process.returncode == 0, program.log
    assert looks > 1, 'too few to show anything'
    total = begun.stat().st_size
    # A count that was begun when the kill came may be missing.
    assert total - KILLS <= counted(collector) <= total
    # One for the slot of the pool, and one for the process that made the metrics.
    assert len(list(folder.glob('counter_*.db'))) <= 2
