"""An SQS transport for Celery that heals itself: kombu's, with the parts replaced that do not.

    broker_transport = 'be_queue.transport:Transport'

Options are kombu's, with other defaults for ``client-config`` and ``sqs_base64_encoding``.
Producers and workers on kombu's own transport read its messages, and it reads theirs. One module
each:

* `requests`: requests to SQS from the event loop, with time-outs, and an outcome for each.
* `polling`: when to receive, one poller a queue.
* `acks`: deleting messages, in batches.
* `visibility`: hiding what a worker holds from the others, for as long as it holds it.
* `delays`: how long a message has to wait on SQS for its time.
* `hops`, `copies`: sending it again when that is longer than SQS delays one.
* `sending`: a message to all its queues at once.
* `fifo`: group and identity of a message on FIFO queues.
* `limits`: how large a message may be.
* `batch`: many messages, ten to a request.
* `declaring`: finding queues, and making them with their dead-letter queues.
* `redrive`, `policy`, `verify`: the dead-letter queue of each queue, made, mended or verified.
* `poison`: which messages Celery could not run.
* `dead_letters`, `targets`: sending them to the dead-letter queue.
* `guarded`: where kombu calls the last two.
* `channel`: where kombu calls them.
"""

from be_queue.transport.channel import Channel, Transport

__all__ = ['Channel', 'Transport']
