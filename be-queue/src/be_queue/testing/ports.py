"""Addresses on loopback."""

from __future__ import annotations

import contextlib
import random
import socket

#: Below those that the kernel gives to whoever connects, who would take one before it is used.
PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    # Not of the seed that all of a test run may have.
    draw = random.SystemRandom()
    while True:
        port = draw.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(('127.0.0.1', port))
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
