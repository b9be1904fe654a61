"""An SQS transport for Celery that heals itself: kombu's, with the parts replaced that do not.

    broker_transport = 'be_queue.transport:Transport'

Options are kombu's. Messages are the same on SQS: producers and workers on kombu's own transport
work with it. One module each:

* `requests`: requests to SQS from the event loop, with time-outs, and an outcome for each.
* `polling`: when to receive, one poller a queue.
* `acks`: deleting messages, in batches.
* `visibility`: hiding what a worker holds from the others, for as long as it holds it.
* `channel`: where kombu calls them.
"""

from be_queue.transport.channel import Channel, Transport

__all__ = ['Channel', 'Transport']
