"""Addresses on loopback."""

from __future__ import annotations

import contextlib
import socket


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Return whether something on loopback accepts connections to ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(('127.0.0.1', port)) == 0


def close_listener(listener: socket.socket) -> None:
    """Refuse new connections, also when a thread waits for one."""
    # Wakes the accept() that close() alone would leave blocked, and with it the port.
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
