"""Event logs."""

from app.utils.metrics.define import counter

__all__ = ['EVENTS']

EVENTS = counter(
    'fluent_events',
    'Event logs: sent (written to the connection), or dropped (buffer full, or left at the end).',
    'outcome',
)
