"""A program in a process of its own, with its output in a file."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from be_queue.testing.processes import bare_environment

ROOT = Path(__file__).resolve().parents[3]
#: Where Python finds the tests.
TESTS = ROOT / 'be-queue'


class Program:
    """A running process."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.process = process
        self._log_path = log_path

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log_path.read_text()

    def ends(self, number: signal.Signals | None = None, timeout: float = 10.0) -> int:
        """Send a signal if one is given; return the exit status, fail after ``timeout`` s."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


@contextmanager
def running(
    arguments: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> Iterator[Program]:
    """Run Python with ``arguments`` and no variables but ``environment``; kill it at the end."""
    with log_path.open('wb') as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=bare_environment() | {'PYTHONPATH': str(TESTS)} | dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    program = Program(process, log_path)
    try:
        yield program
    except BaseException:
        print(program.log)  # noqa: T201  (pytest shows it with the failure)
        raise
    finally:
        process.kill()
        process.wait()
