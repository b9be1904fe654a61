"""Modules of tasks beside app/tasks/tasks.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from be_queue.testing.processes import bare_environment

ROOT = Path(__file__).resolve().parents[2]

#: Starts with one more folder of modules, as if its files were in app/tasks.
PROGRAM = 'import sys, app.tasks; app.tasks.__path__.append(sys.argv[1]); import app.worker'


def test_the_worker_registers_the_tasks_of_every_module(tmp_path: Path) -> None:
    code = "from celery import shared_task\n\n@shared_task(name='ship')\ndef ship(): ...\n"
    (tmp_path / 'orders.py').write_text(code)

    worker = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env=bare_environment(),
        capture_output=True,
        text=True,
    )

    assert worker.returncode != 0
    assert "task 'ship' is registered, but no queue carries it" in worker.stderr
