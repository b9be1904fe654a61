"""Addresses on loopback."""

from __future__ import annotations

import contextlib
import random
import socket

#: Below those that the kernel assigns to outgoing connections, which could take one before its use.
PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a TCP port on which nothing listens now."""
    draw = random.SystemRandom()  # the tests of one run may share a seed
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
    """Refuse new connections, also while a thread waits in accept()."""
    # close() alone leaves that thread, and with it the port, as they are.
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
