"""Reports errors to Sentry. Nothing is imported and sent until SENTRY_DSN is set.

| error                                                         | reported by      |
|---------------------------------------------------------------|------------------|
| a task fails and is not retried                               | its pool process |
| a task is killed at its time limit; its message becomes a     | the consumer     |
| dead letter, because it was rejected or its process was lost  |                  |
| the consumer, the web server or the monitor fails             | itself           |
"""

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
