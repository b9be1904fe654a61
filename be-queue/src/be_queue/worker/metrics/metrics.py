"""The worker's metrics; docs/metrics.md has a row for each."""

from __future__ import annotations

from be_queue.worker.metrics import counter, histogram

# Bounds of histograms, in seconds but for the first.

#: Messages per batch; the SQS maximum is 10.
BATCH_BUCKETS = (1, 2, 4, 6, 8, 10)
#: From SQS nearby to a long poll and an outage.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: From a cached look-up to a batch job at the default time limit of ten minutes.
RUNTIME_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
#: From an idle child to a full prefetch of slow tasks.
LATENCY_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
#: From an idle worker to the four days that SQS keeps messages by default.
WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 345600)
#: From a database nearby to one that does not answer.
STORE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120)

#: Labels.
TASK = ('name', 'queue')
STATE = (*TASK, 'state')

# The four that are known to many dashboards.

WORKER_TASKS = counter(
    'worker_tasks_count',
    'By the pool processes: STARTED, then SUCCESS, FAILURE, RETRY, REJECTED or IGNORED; '
    'the last two alone for a duplicate that is not run.',
    *STATE,
)
CONSUMER_TASKS = counter(
    'consumer_tasks_count',
    'By the consuming process: RECEIVED; REVOKED; REJECTED (undecodable or unknown); '
    'FAILURE (process lost, time limit, message rejected by the task).',
    *STATE,
)
RUNTIME = histogram(
    'tasks_runtime_seconds', 'From prerun to postrun.', *TASK, buckets=RUNTIME_BUCKETS
)
LATENCY = histogram(
    'tasks_latency_seconds',
    'From received by this worker to prerun.',
    *TASK,
    buckets=LATENCY_BUCKETS,
)

# Tasks by their end, and their waiting times.

FINISHED = counter(
    'tasks_finished',
    'Tasks, each once, by final state: SUCCESS, FAILURE, REVOKED, REJECTED or IGNORED.',
    *STATE,
)
RETRIED = counter('tasks_retried', 'Attempts after which the task is retried.', *TASK)
FAILED = counter(
    'tasks_failed', 'Tasks that failed for good, by class of exception.', *TASK, 'exception'
)
WAIT = histogram(
    'tasks_wait_seconds',
    'From sent (the last time), or due if that is later, to prerun.',
    *TASK,
    buckets=WAIT_BUCKETS,
)

# Processes of the pool.

STARTED = counter('pool_processes_started', 'Processes of the pool that were started.')
LOST = counter(
    'pool_processes_lost',
    'Processes of the pool that ended before the worker, by reason: recycled, memory, '
    'time limit, signal, exit.',
    'reason',
)

# Requests to SQS, and messages on their way from and to it.

POLLS = counter(
    'transport_polls',
    'Receives that ended, by outcome: messages, empty, error.',
    'queue',
    'outcome',
)
RECEIVE_BATCH = histogram(
    'transport_receive_batch_size',
    'Messages of a receive that brought any.',
    'queue',
    buckets=BATCH_BUCKETS,
)
DELETE_BATCH = histogram(
    'transport_delete_batch_size', 'Messages of a delete.', 'queue', buckets=BATCH_BUCKETS
)
ACK_DELAY = histogram(
    'transport_ack_delay_seconds',
    "From a message's ack to SQS' answer that it is deleted.",
    'queue',
    buckets=REQUEST_BUCKETS,
)
EXTENSIONS = counter(
    'transport_visibility_extensions',
    'Messages whose visibility was to be extended, by outcome: ok, error (and still held).',
    'queue',
    'outcome',
)
REQUESTS = counter(
    'transport_requests',
    'Requests to SQS, by status: ok, throttled, denied, timeout, unreachable, client error, '
    'server error.',
    'operation',
    'status',
)
REQUEST_SECONDS = histogram(
    'transport_request_seconds',
    'From a request to SQS to its end, with the time that a long poll waits.',
    'operation',
    buckets=REQUEST_BUCKETS,
)
RELEASED = counter(
    'transport_released_messages',
    'Messages handed back to SQS: at shutdown, or since they waited too long for a process.',
    'queue',
)

# The result database.

STORE_SECONDS = histogram(
    'result_store_seconds',
    'Time of each try of an operation (store) on the result database.',
    'operation',
    buckets=STORE_BUCKETS,
)
STORE_ERRORS = counter(
    'result_store_errors',
    'Tries of an operation (store) that the result database failed.',
    'operation',
)

# Event logs.

EVENTS = counter(
    'fluent_events',
    'Event logs: sent (written to the connection), or dropped (buffer full, or left at the end).',
    'outcome',
)
