"""`be_queue`'s transport, counted, and with queues polled no faster than rate limits allow."""

from __future__ import annotations

from functools import cached_property

from be_queue import transport
from be_queue.worker.metrics.observer import Counting
from be_queue.worker.ratelimit.permits import RateLimitGate
from be_queue.worker.ratelimit.plan import limiters, plan
from be_queue.worker.settings import current

__all__ = ['Channel', 'Transport']


class Channel(transport.Channel):
    """Counts what it does, and asks for permits before it asks for messages."""

    #: Makes the limiter of each queue that has one.
    limiters = staticmethod(limiters)

    @cached_property
    def observer(self) -> Counting:
        """Counts requests and messages."""
        return Counting()

    @cached_property
    def gate(self) -> RateLimitGate:
        """Built when the event loop consumes: producers need none."""
        config = current()
        limits = plan(config, self.transport_options.get('ratelimits') or {})
        policy = config.ratelimit_failure_policy
        return RateLimitGate(self.limiters(config, limits), self.hub, self._wake, policy)


class Transport(transport.Transport):
    """For Celery's ``broker_transport``, as ``be_queue.worker.transport:Transport``."""

    Channel = Channel
