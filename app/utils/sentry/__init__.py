"""Errors, reported to Sentry: off until SENTRY_DSN is set, and nothing is imported until then.

| what fails                                                      | is reported by       |
|-----------------------------------------------------------------|----------------------|
| a task, for good: no retry follows                              | its pool process     |
| a task that is killed at its time limit, or whose message       | the consumer process |
| becomes a dead letter, for its process is lost or it rejects it |                      |
| the consumer, the web server or the monitor, in its own code    | itself               |

A retry is no report: those before a failure are breadcrumbs of its report.
"""

from __future__ import annotations

import sys

from app.config.configuration import Config
from app.utils.role import Role

__all__ = ['start', 'stop']

_CLIENT = 'app.utils.sentry.client'


def start(config: Config, role: Role) -> None:
    """Start in this process, after its fork."""
    if config.sentry_dsn.get_secret_value():
        from app.utils.sentry import client

        client.start(config, role)


def stop() -> None:
    """Report what ends the process, if an exception does; send what waits, within 2 s."""
    client = sys.modules.get(_CLIENT)
    if client is not None:
        client.stop()
