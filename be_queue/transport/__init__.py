"""An SQS transport for Celery that heals itself: kombu's, with the parts replaced that do not.

    broker_transport = 'be_queue.transport:Transport'

Options are kombu's, with other defaults for ``client-config`` and ``sqs_base64_encoding``.
Producers and workers on kombu's own transport read its messages, and it reads theirs.

A room for each concern; its ``channel`` is where kombu calls it:

* `clients`: requests to SQS, with time-outs and credentials that are renewed.
* `queues`: finding queues, and making them with their dead-letter queues.
* `sending`: a message to all its queues at once, or many messages ten to a request; how long SQS
  keeps it back.
* `dead_letters`: what Celery could not run, and sending it where people look for it.
* `holding`: deleting messages, keeping them hidden, handing them back, and sending those again
  whose time is further away than SQS keeps one back.
* `receiving`: how much a worker may hold, and which queue it asks next.
"""

from be_queue.transport.channel import Channel, Transport

__all__ = ['Channel', 'Transport']
