"""Limits how fast queues are polled, over all workers together.

Permits are asked for before messages: what may not run yet stays in SQS, and waiting costs neither
visibility time nor a receive attempt.

    plan -> one limiter per queue: a service (Envoy's protocol), or windows in Redis or memory
    receives -> gate -> permits of a queue -> its limiter

Windows begin at full seconds, minutes, hours or days by the clock, as those of Envoy's service do,
so a limit means the same in each backend.
"""

from be_queue.worker.ratelimit.limiter import Fault, Grant, Limiter, LimiterError
from be_queue.worker.ratelimit.plan import Limit, limiters

__all__ = ['Fault', 'Grant', 'Limit', 'Limiter', 'LimiterError', 'limiters']
