"""Permits to receive, and the state of each queue's limit."""

from be_queue.worker.metrics import counter, gauge

__all__ = ['ASKED', 'DENIED', 'ERRORS', 'GRANTED', 'STATE', 'THROTTLED', 'UNUSED']

ASKED = counter('ratelimit_permits_asked', 'Permits asked of the rate limiter.', 'queue')
GRANTED = counter('ratelimit_permits_granted', 'Permits asked for and granted.', 'queue')
DENIED = counter('ratelimit_permits_denied', 'Permits asked for and not granted.', 'queue')
UNUSED = counter(
    'ratelimit_permits_unused', 'Permits whose window ended before they were used.', 'queue'
)
ERRORS = counter(
    'ratelimit_errors',
    'Requests without a usable answer: timeout, unreachable, refused, absurd, unknown name.',
    'queue',
    'fault',
)
THROTTLED = counter(
    'ratelimit_throttled_seconds', 'Seconds in which the queue was held back.', 'queue'
)
STATE = gauge(
    'ratelimit_state',
    '1 for how the queue is limited now: limited, throttled, unlimited or stopped.',
    'queue',
    'state',
)
