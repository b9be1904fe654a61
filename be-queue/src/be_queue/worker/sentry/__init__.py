"""Reports errors to Sentry, see docs/observability.md; imports the SDK only with a SENTRY_DSN."""

from __future__ import annotations

import sys

from be_queue.worker.role import Role
from be_queue.worker.settings import Settings

__all__ = ['start', 'stop']


def start(config: Settings, role: Role) -> None:
    """Start in this process, after its fork."""
    if config.sentry_dsn.get_secret_value():
        from be_queue.worker.sentry import client

        client.start(config, role)


def stop() -> None:
    """Report the exception that ends the process, if any; send pending events, for at most 2 s."""
    client = sys.modules.get('be_queue.worker.sentry.client')
    if client is not None:
        client.stop()
