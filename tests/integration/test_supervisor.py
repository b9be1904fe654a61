"""The supervisor with children of its own: orphans, and signals while it waits for others."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.tree import alive, children, zombies
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


WAITING = """
import os, pathlib, signal, threading
from app.child import Child
from app.supervisor import Supervisor

child = Child('child', ['sleep', '60'], folder=pathlib.Path('.'))
with Supervisor() as supervisor:
    supervisor.start(child)
    print(child.pid, flush=True)
    {before}
    with supervisor.interruptible():
        print('waits', flush=True)
        threading.Event().wait()
"""


@pytest.mark.parametrize(
    ('before', 'waits'), [('', 'waits'), ('os.kill(os.getpid(), signal.SIGTERM)', '')]
)
def test_a_signal_ends_what_waits_and_one_from_before_lets_nothing_wait(
    before: str, waits: str
) -> None:
    command = [sys.executable, '-c', WAITING.format(before=before)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout
            child = int(supervisor.stdout.readline())
            assert supervisor.stdout.readline().strip() == waits
            if waits:
                supervisor.send_signal(signal.SIGINT)
            assert supervisor.wait(timeout=30) == 0
            wait_until(lambda: not alive(child), 'the child is gone')
        finally:
            supervisor.kill()
