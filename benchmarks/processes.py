"""The worker and the producer of a contender, each a process of its own, and what they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.contenders import BenchmarkError, Contender
from benchmarks.records import Records
from tests.support.process import bare_environment
from tests.support.tree import children, kill

__all__ = ['CONCURRENCY', 'Site', 'Worker']

#: Children of every worker.
CONCURRENCY = 2
ROOT = Path(__file__).resolve().parents[1]
#: Ticks of /proc's times in a second.
TICKS = os.sysconf('SC_CLK_TCK')
#: Characters of a log that are shown when its process fails.
SHOWN = 3000


@dataclass(frozen=True)
class Site:
    """Where a contender works.

    Arguments:
        contender: who.
        broker_url: as `benchmarks.contenders.celery_app` takes it.
        queues: names; tasks go to the first.
        folder: for its records, logs and metrics.
        result_backend: Celery's setting.
        metrics: whether the template's worker has signals and metrics, as it has anywhere else.
    """

    contender: Contender
    broker_url: str
    queues: tuple[str, ...]
    folder: Path
    result_backend: str = 'disabled://'
    metrics: bool = True

    @property
    def metrics_folder(self) -> Path:
        """Where the template's processes keep their metrics."""
        return self.folder / 'metrics'

    @property
    def records(self) -> Records:
        """What its tasks have reported."""
        return Records(self.folder / 'records')

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes, and none of whoever started the benchmarks."""
        return bare_environment() | {
            'BENCH_CONTENDER': self.contender.name,
            'BENCH_BROKER': self.broker_url,
            'BENCH_RESULTS': self.result_backend,
            'BENCH_QUEUES': ','.join(self.queues),
            'BENCH_RECORDS': str(self.folder / 'records'),
            'PROMETHEUS_MULTIPROC_DIR': str(self.metrics_folder),
        }

    def produce(self, *arguments: str) -> Any:
        """Run `benchmarks.producer`; return its answer."""
        ended = subprocess.run(
            [sys.executable, '-m', 'benchmarks.producer', *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            what = f'{self.contender.label}: producer {" ".join(arguments)}'
            raise BenchmarkError(f'{what} failed:\n{ended.stderr[-SHOWN:]}')
        return json.loads(ended.stdout)

    def beside(self, name: str, *, metrics: bool = True) -> Site:
        """Return another site of the same contender, with a queue and a folder of its own."""
        folder = self.folder / name
        folder.mkdir()
        queues = (f'{self.queues[0]}-{name}',)
        return replace(self, queues=queues, folder=folder, metrics=metrics)

    @contextmanager
    def worker(self, *flags: str) -> Iterator[Worker]:
        """Start a worker, with more ``flags`` of Celery's; kill it and its children at the end."""
        log_path = self.folder / 'log'
        environment = self.environment
        if self.contender.is_ours:
            environment['BENCH_METRICS'] = 'on' if self.metrics else 'off'
        with log_path.open('wb') as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, '-m', 'celery', '-A', 'benchmarks.worker_app', 'worker'),
                    *('-c', str(CONCURRENCY), '-Q', ','.join(self.queues)),
                    *('--loglevel', 'WARNING', *flags),
                ],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(process, log_path)
        try:
            yield worker
        finally:
            # Not asked to stop: some take the rest of a long poll for it.
            for pid in (*children(process.pid), process.pid):
                kill(pid)
            process.wait()


class Worker:
    """A Celery prefork worker that runs."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self._process = process
        self._log_path = log_path

    def check_alive(self) -> None:
        """Raise `BenchmarkError` when it has ended."""
        if self._process.poll() is not None:
            raise BenchmarkError(f'{self.log_tail()}\nthe worker has ended')

    def log_tail(self) -> str:
        """Return the end of what it has written."""
        return self._log_path.read_text()[-SHOWN:]

    def cpu_seconds(self) -> float:
        """Return user and system time of the main process and all its children so far."""
        pid = self._process.pid
        ticks = sum(_times(pid))  # with those of children that have ended
        for child in children(pid):
            try:
                ticks += sum(_times(child)[:2])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since, and is in its parent's at the next look
        return ticks / TICKS

    def peak_memory(self) -> float:
        """Return the most memory that the main process has had, in MiB."""
        for line in Path(f'/proc/{self._process.pid}/status').read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'VmHWM':
                return int(value.split()[0]) / 1024
        raise BenchmarkError('the worker has ended: its memory is unknown')


def _times(pid: int) -> list[int]:
    """Return user and system time of a process, then those of its children that have ended."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return [int(field) for field in fields[11:15]]
