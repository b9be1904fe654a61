"""Processes of the worker's pool."""

from app.utils.metrics.define import counter

__all__ = ['LOST', 'STARTED']

STARTED = counter('pool_processes_started', 'Processes of the pool that were started.')
LOST = counter(
    'pool_processes_lost',
    'Processes of the pool that ended before the worker, by reason: recycled, memory, '
    'time limit, signal, exit.',
    'reason',
)
