"""`be_queue`'s transport, counted, and with queues polled no faster than rate limits allow."""

from __future__ import annotations

from functools import cached_property

from app.config.configuration import load_config
from app.utils.metrics.observer import Counting
from app.utils.ratelimit.gate import RateLimitGate
from app.utils.ratelimit.plan import limiters, plan
from be_queue import transport

__all__ = ['Channel', 'Transport']


class Channel(transport.Channel):
    """Counts what it does, and asks for permits before it asks for messages."""

    @cached_property
    def observer(self) -> Counting:
        """Counts requests and messages."""
        return Counting()

    @cached_property
    def gate(self) -> RateLimitGate:
        """Built when the event loop consumes: producers need none."""
        config = load_config()
        limits = plan(config, self.transport_options.get('ratelimits') or {})
        policy = config.ratelimit_failure_policy
        return RateLimitGate(limiters(config, limits), self.hub, self._wake, policy)


class Transport(transport.Transport):
    """For Celery's ``broker_transport``, as ``app.utils.transport:Transport``."""

    Channel = Channel
