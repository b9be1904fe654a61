"""Requests to SQS, and messages on their way from and to it."""

from app.utils.metrics.define import counter, histogram

__all__ = [
    'ACK_DELAY',
    'DELETE_BATCH',
    'EXTENSIONS',
    'POLLS',
    'RECEIVE_BATCH',
    'RELEASED',
    'REQUESTS',
    'REQUEST_SECONDS',
]

#: Messages per batch; the SQS maximum is 10.
_BATCH = (1, 2, 4, 6, 8, 10)
#: Seconds, from SQS nearby to a long poll and an outage.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

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
    buckets=_BATCH,
)
DELETE_BATCH = histogram(
    'transport_delete_batch_size', 'Messages of a delete.', 'queue', buckets=_BATCH
)
ACK_DELAY = histogram(
    'transport_ack_delay_seconds',
    "From a message's ack to SQS' answer that it is deleted.",
    'queue',
    buckets=_SECONDS,
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
    buckets=_SECONDS,
)
RELEASED = counter(
    'transport_released_messages',
    'Messages handed back to SQS: at shutdown, or since they waited too long for a process.',
    'queue',
)
