"""Features of Linux for a tree of processes; elsewhere these do nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ['LOOK_FOR_OOM', 'adopt_orphans', 'die_with_parent', 'reap_orphans']

#: For the log, when a process was killed.
LOOK_FOR_OOM = (
    "unless somebody killed it, look for the kernel's out-of-memory killer (dmesg, or OOMKilled in "
    'kubectl describe pod)'
)

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_ON_LINUX = sys.platform.startswith('linux')


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, as process 1 is anyway."""
    if _ON_LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(children: set[int]) -> None:
    """Wait for adopted processes that have ended, and leave our own ``children`` to `Popen`."""
    if not _ON_LINUX:  # macOS has os.waitid from Python 3.13 only
        return
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in children:
                return  # Popen collects it, and will be asked next
            os.waitpid(ended.si_pid, 0)


def die_with_parent() -> Callable[[], None] | None:
    """Return what a new child calls, to be sent SIGTERM when its parent is killed."""
    if not _ON_LINUX:
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before we asked
            os._exit(1)

    return ask
