"""Event logs, by Fluentd's forward protocol, for Treasure Data: ``td.log('table', {...})``.

Off until FLUENT_HOST is set; then each process, the worker's or not, gets a sender with its first
event. Events that are in the connection when it breaks may be lost or arrive twice, since
fluent-logger does not ask for acknowledgements.
"""

from __future__ import annotations

from app.config.configuration import Config
from app.utils.fluent.event_log import EventLog
from app.utils.role import Role

__all__ = ['start', 'stop', 'td']

#: The event log of this process.
td = EventLog()


def start(config: Config, role: Role) -> None:
    """Count the events of this process; the first event makes the sender."""
    if config.fluent_host is None:
        return
    # Before the pool is forked, so that its processes share what is loaded.
    from app.utils.fluent import sender  # noqa: F401
    from app.utils.metrics.metrics import EVENTS

    # Prometheus sees no increase in a series that begins with 1.
    for outcome in ('sent', 'dropped'):
        EVENTS.labels(outcome)
    td.open(lambda outcome, events: EVENTS.labels(outcome).inc(events))


def stop() -> None:
    """Send the events that wait, for two seconds at most."""
    td.close()
