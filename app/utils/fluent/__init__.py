"""Event logs, by Fluentd's forward protocol, for Treasure Data: ``td.log('table', {...})``.

Off until FLUENT_HOST is set; then each process has a sender of its own from its first event on,
also one that is none of the worker's. What is in the connection when it breaks may be lost or
arrive twice, since fluent-logger does not ask for acknowledgements.
"""

from __future__ import annotations

from app.config.configuration import Config
from app.utils.fluent.event_log import EventLog
from app.utils.role import Role

__all__ = ['start', 'stop', 'td']

#: The event log of this process.
td = EventLog()


def start(config: Config, role: Role) -> None:
    """Have this process count its events; what sends them is made at the first."""
    if config.fluent_host is None:
        return
    # Before the pool is forked, so that its processes share what is loaded.
    from app.utils.fluent import sender  # noqa: F401
    from app.utils.metrics.fluent import EVENTS

    for outcome in (
        'sent',
        'dropped',
    ):  # Prometheus sees no increase in a series that begins with 1
        EVENTS.labels(outcome)
    td.open(lambda outcome, events: EVENTS.labels(outcome).inc(events))


def stop() -> None:
    """Send what waits, for two seconds at most."""
    td.close()
