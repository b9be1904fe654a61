"""The transport of this worker, whose queues are polled no faster than their rate limits allow."""

from __future__ import annotations

from app.utils import ratelimit
from be_queue.worker import transport

__all__ = ['Channel', 'Transport']


class Channel(transport.Channel):
    """Receives, holds and acknowledges messages.

    Override ``gate`` for another way to hold queues back, ``observer`` to see what is received.
    """

    limiters = staticmethod(ratelimit.limiters)


class Transport(transport.Transport):
    """For Celery's ``broker_transport``, as ``app.utils.transport:Transport``."""

    Channel = Channel
