"""Processes that tests start, and those below them, from Linux' /proc."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

__all__ = [
    'NO_DOTENV',
    'alive',
    'bare_environment',
    'children',
    'command_line',
    'descendants',
    'kill',
]

#: Disables python-dotenv, so that no program reads the developer's .env.
NO_DOTENV = {'PYTHON_DOTENV_DISABLED': '1'}


def bare_environment() -> dict[str, str]:
    """Return the variables that a program needs and none of the developer's settings."""
    return {name: os.environ[name] for name in ('PATH', 'HOME') if name in os.environ} | NO_DOTENV


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return _stat(pid)[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    """Kill a process if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> tuple[str, int]:
    """Return state and parent of a process, from Linux' /proc."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return fields[0], int(fields[1])


def _states(parent: int) -> list[tuple[int, str]]:
    """Return pid and state of each child of ``parent``."""
    found = []
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                state, owner = _stat(int(entry.name))
                if owner == parent:
                    found.append((int(entry.name), state))
    return sorted(found)


def children(parent: int) -> list[int]:
    """Return the pids of the children of ``parent`` that run."""
    return [pid for pid, state in _states(parent) if state != 'Z']


def command_line(pid: int) -> str:
    """Return a process's command line, '' when it is gone."""
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def descendants(parent: int) -> dict[int, str]:
    """Return pid and command line of every process below ``parent``."""
    found = {}
    for pid in children(parent):
        found[pid] = command_line(pid)
        found |= descendants(pid)
    return found
