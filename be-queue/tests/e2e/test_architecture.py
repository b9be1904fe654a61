"""This worker, as it is, against the architecture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.worker import ROOT, Site

PROGRAM = """
import unittest
from app.worker import app
from be_queue.testing import build_functional_tests

FunctionalTests = build_functional_tests(app)
unittest.main(verbosity=2)
"""


def test_the_worker_passes_the_functional_tests(site: Site, tmp_path: Path) -> None:
    # In a process of its own: importing the worker registers its tasks with every Celery app.
    ended = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        cwd=ROOT,
        env=site.environment | {'PROMETHEUS_MULTIPROC_DIR': str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert 'test_every_mapped_task_is_registered' in ended.stderr
