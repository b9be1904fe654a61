"""The tree of processes: namespaces, zombies and sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

#: Runs the command that follows as process 1, as in a container.
AS_PROCESS_1 = (
    'unshare', '--pid', '--fork', '--mount-proc', '--map-root-user', '--kill-child=SIGKILL'
)  # fmt: skip


def read_only(folder: Path) -> tuple[str, ...]:
    """Return what runs the command that follows with a ``folder`` that even root cannot write."""
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ('unshare', '--mount', '--map-root-user', 'sh', '-c', bind, str(folder))


def zombies(parent: int) -> list[int]:
    """Return the pids of the processes that ``parent`` has not waited for."""
    found = psutil.Process(parent).children()
    return [each.pid for each in found if each.status() == psutil.STATUS_ZOMBIE]


def listening_addresses(*pids: int) -> list[Any]:
    """Return ``ip`` and ``port`` of every TCP socket on which these processes listen."""
    sockets = [socket for pid in pids for socket in psutil.Process(pid).net_connections('tcp')]
    return [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
