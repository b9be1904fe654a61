"""The result database."""

from app.utils.metrics.metrics import counter, histogram

__all__ = ['ERRORS', 'SECONDS']

#: Seconds, from a database nearby to one that does not answer.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120)

SECONDS = histogram(
    'result_store_seconds',
    'Time of each try of an operation (store) on the result database.',
    'operation',
    buckets=_BUCKETS,
)
ERRORS = counter(
    'result_store_errors',
    'Tries of an operation (store) that the result database failed.',
    'operation',
)
