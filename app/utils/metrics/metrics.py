"""The worker's four best known metrics. Add your own below, and a row for each to docs/metrics.md.

A metric counts in every process that imports its module:

    ORDERS = counter('orders_charged', 'Orders charged, by currency.', 'currency')
    ORDERS.labels('EUR').inc()
"""

from prometheus_client import REGISTRY

from app.utils.metrics.define import counter, histogram

__all__ = [
    'CONSUMER_TASKS',
    'LATENCY',
    'REGISTRY',
    'RUNTIME',
    'RUNTIME_BUCKETS',
    'WAIT_BUCKETS',
    'WORKER_TASKS',
]

#: Seconds, from a cached look-up to a batch job at the default time limit of ten minutes.
RUNTIME_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
#: Seconds, from an idle child to a full prefetch of slow tasks.
WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)

WORKER_TASKS = counter(
    'worker_tasks_count',
    'By the pool processes: STARTED, then SUCCESS, FAILURE, RETRY, REJECTED or IGNORED; '
    'the last two alone for a duplicate that is not run.',
    'name',
    'queue',
    'state',
)
CONSUMER_TASKS = counter(
    'consumer_tasks_count',
    'By the consuming process: RECEIVED; REVOKED; REJECTED (undecodable or unknown); '
    'FAILURE (process lost, time limit, message rejected by the task).',
    'name',
    'queue',
    'state',
)
RUNTIME = histogram(
    'tasks_runtime_seconds', 'From prerun to postrun.', 'name', 'queue', buckets=RUNTIME_BUCKETS
)
LATENCY = histogram(
    'tasks_latency_seconds',
    'From received by this worker to prerun.',
    'name',
    'queue',
    buckets=WAIT_BUCKETS,
)
