"""Tasks by their end, and their waiting times."""

from app.utils.metrics.define import counter, histogram

__all__ = ['FAILED', 'FINISHED', 'RETRIED', 'WAIT']

#: Seconds, from an idle worker to the four days that SQS keeps messages by default.
_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 345600)

FINISHED = counter(
    'tasks_finished',
    'Tasks, each once, by final state: SUCCESS, FAILURE, REVOKED, REJECTED or IGNORED.',
    'name',
    'queue',
    'state',
)
RETRIED = counter('tasks_retried', 'Attempts after which the task is retried.', 'name', 'queue')
FAILED = counter(
    'tasks_failed',
    'Tasks that failed for good, by class of exception.',
    'name',
    'queue',
    'exception',
)
WAIT = histogram(
    'tasks_wait_seconds',
    'From sent (the last time), or due if that is later, to prerun.',
    'name',
    'queue',
    buckets=_BUCKETS,
)
