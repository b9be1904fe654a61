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
        # Which has no name in Python.
        (
            'os.kill(os.getpid(), signal.SIGRTMIN + 3)',
            f'was killed by signal {signal.SIGRTMIN + 3}',
        ),
    ],
)
def test_the_end_of_a_child_is_said(end: str, said: str) -> None:
    child = Child('child', [sys.executable, '-c', f'import os, signal, sys; {end}'], Path())
    assert child.describe_end() == 'has not ended'
    child.start()
    wait_until(lambda: child.ended, 'it has ended')
    assert child.describe_end() == said
