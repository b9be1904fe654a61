"""Processes that outlive their parents become the supervisor's."""

from __future__ import annotations

import subprocess
import sys

from tests.support.tree import children, zombies
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

# Its child leaves an orphan behind, which ends soon after.
PROGRAM = """
import pathlib, sys
from app.child import Child
from app.supervisor import Supervisor

orphan = '(sh -c "touch {mark}; exec sleep 1" &); exec sleep 60'
with Supervisor() as supervisor:
    supervisor.start(Child('parent', ['sh', '-c', orphan], folder=pathlib.Path('.')))
    sys.exit(supervisor.run())
"""


def test_orphans_are_reaped(tmp_path) -> None:
    mark = tmp_path / 'orphan-ran'
    command = [sys.executable, '-c', PROGRAM.format(mark=mark)]
    with subprocess.Popen(command, cwd=ROOT) as supervisor:
        try:
            wait_until(mark.exists, 'the orphan runs')
            wait_until(lambda: len(children(supervisor.pid)) == 2, 'the orphan is adopted')
            # The shell and nobody else: the orphan has ended, and somebody has waited for it.
            wait_until(lambda: len(children(supervisor.pid)) == 1, 'the orphan has ended')
            wait_until(lambda: not zombies(supervisor.pid), 'no zombie is left')
        finally:
            supervisor.kill()
