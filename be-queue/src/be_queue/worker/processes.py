"""Starts the integrations of a process after its fork, and stops them before its end.

Clients hold sockets, threads and file handles, which a fork would share.
"""

from __future__ import annotations

import logging

from be_queue.worker import fluent, sentry, tracing, vault
from be_queue.worker.role import Role
from be_queue.worker.settings import current

__all__ = ['start', 'stop']

logger = logging.getLogger(__name__)

#: In the order of their start; they end the other way round.
_INTEGRATIONS = (vault, tracing, sentry, fluent)


def start(role: Role) -> None:
    """Start what the settings switch on; one that fails is logged, and stops nothing else."""
    config = current()
    for integration in _INTEGRATIONS:
        try:
            integration.start(config, role)
        except Exception:
            logger.exception('%s did not start: this process runs without', integration.__name__)


def stop() -> None:
    """Flush and end what was started; each takes a bounded time."""
    for integration in reversed(_INTEGRATIONS):
        try:
            integration.stop()
        except Exception:
            logger.exception('%s did not end well', integration.__name__)
