"""The transport of this worker, whose queues are polled no faster than their rate limits allow."""

from __future__ import annotations

from be_queue.worker import transport

__all__ = ['Channel', 'Transport']


class Channel(transport.Channel):
    """Receives, holds and acknowledges messages; see `be_queue.worker.transport.Channel`.

    Override ``gate`` for another way to limit queues, ``observer`` to see what is received.
    """


class Transport(transport.Transport):
    """For Celery's ``broker_transport``, as ``app.utils.transport:Transport``."""

    Channel = Channel
