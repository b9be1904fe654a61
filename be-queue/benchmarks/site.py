"""The worker and the producer of a contender, each a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

from be_queue.testing.processes import bare_environment
from benchmarks.contenders import BenchmarkError, Contender
from benchmarks.records import Records

__all__ = ['Site', 'Worker']

LIBRARY = Path(__file__).resolve().parents[1]
#: Characters of a log that are shown when its process fails.
SHOWN = 3000


@dataclass(frozen=True)
class Site:
    """A contender's queues, files and processes.

    Arguments:
        contender: the contender.
        broker_url: as `benchmarks.contenders.celery_app` takes it.
        queues: names; tasks go to the first.
        folder: for its records, logs and metrics.
        result_backend: Celery's setting.
    """

    contender: Contender
    broker_url: str
    queues: tuple[str, ...]
    folder: Path
    result_backend: str = 'disabled://'

    @property
    def records(self) -> Records:
        """The reports of its tasks."""
        return Records(self.folder / 'records')

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes, without the caller's own."""
        return bare_environment() | {
            # Where `app` is.
            'PYTHONPATH': str(LIBRARY.parent),
            'BENCH_CONTENDER': self.contender.name,
            'BENCH_BROKER': self.broker_url,
            'BENCH_RESULTS': self.result_backend,
            'BENCH_QUEUES': ','.join(self.queues),
            'BENCH_RECORDS': str(self.folder / 'records'),
            'PROMETHEUS_MULTIPROC_DIR': str(self.folder / 'metrics'),
        }

    def produce(self, *arguments: str) -> Any:
        """Run `benchmarks.producer`; return its answer."""
        ended = subprocess.run(
            [sys.executable, '-m', 'benchmarks.producer', *arguments],
            cwd=LIBRARY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            what = f'{self.contender.label}: producer {" ".join(arguments)}'
            raise BenchmarkError(f'{what} failed:\n{ended.stderr[-SHOWN:]}')
        return json.loads(ended.stdout)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Start a worker with two children; kill them all at the end."""
        log_path = self.folder / 'log'
        with log_path.open('wb') as log:
            process = psutil.Popen(
                [
                    *(sys.executable, '-m', 'celery', '-A', 'benchmarks.worker_app', 'worker'),
                    *('-c', '2', '-Q', ','.join(self.queues), '--loglevel', 'WARNING'),
                ],
                cwd=LIBRARY,
                env=self.environment | {'BENCH_ROLE': 'worker'},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Worker(process, log_path)
        finally:
            # Not asked to stop: some take the rest of a long poll for it.
            for running in (*process.children(), process):
                with suppress(psutil.NoSuchProcess):
                    running.kill()
            process.wait()


class Worker:
    """A running Celery prefork worker."""

    def __init__(self, process: psutil.Popen, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path

    def check_alive(self) -> None:
        """Raise `BenchmarkError` when it has ended."""
        if self._process.poll() is not None:
            raise self.error('the worker has ended')

    def error(self, what: str) -> BenchmarkError:
        """Return an error with the end of the worker's log."""
        return BenchmarkError(f'{self._log_path.read_text()[-SHOWN:]}\n{what}')

    def cpu_seconds(self) -> float:
        """Return user and system time of the main process and all its children so far."""
        seconds = sum(self._process.cpu_times()[:4])  # with those of children that have ended
        for child in self._process.children():
            with suppress(psutil.NoSuchProcess):  # then it is in its parent's at the next look
                seconds += sum(child.cpu_times()[:2])
        return seconds

    def memory(self) -> dict[str, float]:
        """Return megabytes of the main process and, on average, of a child.

        ``uss`` is what would be free if the process ended; ``pss`` counts what it shares too, a
        part for each process.
        """
        children = []
        for child in self._process.children():
            with suppress(psutil.NoSuchProcess):  # it is being replaced
                children.append(child.memory_full_info())
        found = {}
        for kind in ('uss', 'pss'):
            found[f'main_{kind}'] = getattr(self._process.memory_full_info(), kind) / 1e6
            found[f'child_{kind}'] = mean(getattr(child, kind) for child in children) / 1e6
        return found
