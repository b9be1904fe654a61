"""Reports errors to Sentry, see docs/observability.md; imports the SDK only with a SENTRY_DSN."""

from __future__ import annotations

import sys

from app.config.configuration import Config
from app.utils.role import Role

__all__ = ['start', 'stop']


def start(config: Config, role: Role) -> None:
    """Start in this process, after its fork."""
    if config.sentry_dsn.get_secret_value():
        from app.utils.sentry import client

        client.start(config, role)


def stop() -> None:
    """Report the exception that ends the process, if any; send pending events, for at most 2 s."""
    client = sys.modules.get('app.utils.sentry.client')
    if client is not None:
        client.stop()
