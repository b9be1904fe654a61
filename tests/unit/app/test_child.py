from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from app.child import Child
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    ('end', 'said'),
    [
        ('sys.exit(3)', 'exited with status 3'),
        ('os.kill(os.getpid(), signal.SIGKILL)', 'was killed by SIGKILL'),
        ('os.kill(os.getpid(), 37)', 'was killed by signal 37'),
    ],
)
def test_the_end_of_a_child_is_said(end: str, said: str) -> None:
    assert signal.SIGRTMIN < 37 < signal.SIGRTMAX  # those between have no name in Python
    child = Child('child', [sys.executable, '-c', f'import os, signal, sys; {end}'], Path())
    child.start()
    wait_until(lambda: child.status is not None, 'it has ended')
    assert child.describe_end() == said
