"""The worker's metrics: add your own here.

``{prefix}`` is METRICS_PREFIX, by default SERVICE_NAME with ``_``. The Prometheus client ends the
names of counters in ``_total``. Times are in seconds. Labels:

* ``name``: the task's name, ``unknown`` for a task that the worker does not register, so that
  strangers' messages cannot add label values without bound.
* ``queue``: the queue's name on SQS, ``unknown`` for one that the mapping does not hold.
* ``state``: a state of Celery, as the result database has it, in capitals.

| metric                         | type      | labels             | counted                     |
|--------------------------------|-----------|--------------------|-----------------------------|
| {prefix}_worker_tasks_count    | counter   | name, queue, state | by the pool's processes:    |
|                                |           |                    | STARTED, then SUCCESS,      |
|                                |           |                    | FAILURE, RETRY, REJECTED or |
|                                |           |                    | IGNORED; the last two alone |
|                                |           |                    | for what the idempotency    |
|                                |           |                    | guard does not run          |
| {prefix}_consumer_tasks_count  | counter   | name, queue, state | by the consuming process:   |
|                                |           |                    | RECEIVED; REVOKED, REJECTED |
|                                |           |                    | (undecodable or unknown);   |
|                                |           |                    | FAILURE (child lost, time   |
|                                |           |                    | limit)                      |
| {prefix}_tasks_runtime_seconds | histogram | name, queue        | prerun to postrun           |
| {prefix}_tasks_latency_seconds | histogram | name, queue        | received to prerun          |
| {prefix}_poller_seconds_since_ | gauge     | queue              | since a receive from SQS    |
|   receive                      |           |                    | ended, well or badly        |
| {prefix}_poller_state          | gauge     | queue, state       | 1 for the poller's state:   |
|                                |           |                    | idle, receiving, full,      |
|                                |           |                    | throttled or backing off    |
| {prefix}_ratelimit_permits_    | counter   | queue              | permits asked of the        |
|   asked                        |           |                    | limiter                     |
| {prefix}_ratelimit_permits_    | counter   | queue              | of those: granted           |
|   granted                      |           |                    |                             |
| {prefix}_ratelimit_permits_    | counter   | queue              | of those: not granted       |
|   denied                       |           |                    |                             |
| {prefix}_ratelimit_permits_    | counter   | queue              | granted ones whose window   |
|   unused                       |           |                    | ended before their use      |
| {prefix}_ratelimit_errors      | counter   | queue, fault       | requests without a usable   |
|                                |           |                    | answer: timeout,            |
|                                |           |                    | unreachable, refused,       |
|                                |           |                    | absurd, unknown name        |
| {prefix}_ratelimit_throttled_  | counter   | queue              | seconds in which the queue  |
|   seconds                      |           |                    | was held back               |
| {prefix}_ratelimit_state       | gauge     | queue, state       | 1 for how the queue is      |
|                                |           |                    | limited: limited,           |
|                                |           |                    | throttled, unlimited or     |
|                                |           |                    | stopped                     |
"""

from app.config.configuration import load_config
from app.utils import metrics as _directory_first  # noqa: F401  (see its docstring)

# isort: split
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

__all__ = [
    'CONSUMER_TASKS',
    'LATENCY',
    'RATELIMIT_ASKED',
    'RATELIMIT_DENIED',
    'RATELIMIT_ERRORS',
    'RATELIMIT_GRANTED',
    'RATELIMIT_STATE',
    'RATELIMIT_THROTTLED',
    'RATELIMIT_UNUSED',
    'REGISTRY',
    'RUNTIME',
    'RUNTIME_BUCKETS',
    'WORKER_TASKS',
]

#: Seconds, from a cached look-up to a batch job at the default time limit of ten minutes.
RUNTIME_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
#: Seconds, from an idle child to a full prefetch of slow tasks.
LATENCY_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)

_PREFIX = load_config().prefix

WORKER_TASKS = Counter(
    f'{_PREFIX}_worker_tasks_count',
    'Tasks by name, queue and state, counted by the processes that run them.',
    ['name', 'queue', 'state'],
)
CONSUMER_TASKS = Counter(
    f'{_PREFIX}_consumer_tasks_count',
    'Tasks by name, queue and state, counted by the process that receives them.',
    ['name', 'queue', 'state'],
)
RUNTIME = Histogram(
    f'{_PREFIX}_tasks_runtime_seconds',
    'Seconds from prerun to postrun.',
    ['name', 'queue'],
    buckets=RUNTIME_BUCKETS,
)
LATENCY = Histogram(
    f'{_PREFIX}_tasks_latency_seconds',
    'Seconds from received to prerun.',
    ['name', 'queue'],
    buckets=LATENCY_BUCKETS,
)
RATELIMIT_ASKED = Counter(
    f'{_PREFIX}_ratelimit_permits_asked',
    'Permits to receive a message, asked of the rate limiter.',
    ['queue'],
)
RATELIMIT_GRANTED = Counter(
    f'{_PREFIX}_ratelimit_permits_granted',
    'Permits that the rate limiter granted.',
    ['queue'],
)
RATELIMIT_DENIED = Counter(
    f'{_PREFIX}_ratelimit_permits_denied',
    'Permits that the rate limiter did not grant.',
    ['queue'],
)
RATELIMIT_UNUSED = Counter(
    f'{_PREFIX}_ratelimit_permits_unused',
    'Permits whose window ended before they were used.',
    ['queue'],
)
RATELIMIT_ERRORS = Counter(
    f'{_PREFIX}_ratelimit_errors',
    'Requests to the rate limiter without an answer that can be used.',
    ['queue', 'fault'],
)
RATELIMIT_THROTTLED = Counter(
    f'{_PREFIX}_ratelimit_throttled_seconds',
    'Seconds in which the queue was held back.',
    ['queue'],
)
RATELIMIT_STATE = Gauge(
    f'{_PREFIX}_ratelimit_state',
    '1 for how the queue is limited now, 0 for the other states.',
    ['queue', 'state'],
    multiprocess_mode='livemostrecent',
)
