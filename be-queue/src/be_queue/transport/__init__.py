"""An SQS transport for Celery: kombu's, which heals itself after outages and loses no message.

    broker_transport = 'be_queue.transport:Transport'

Options are kombu's, with other defaults for ``client-config`` and ``sqs_base64_encoding``.
Producers and workers on kombu's own transport read its messages, and it reads theirs.

`channel` is where kombu calls the parts:

* sending: `publishing`, `batch`, `messages`
* receiving: `receiving`, `poller`, `capacity`, `message_check`
* holding: `qos`, `acks`, `visibility`, `hand_back`, `delays`, `shutdown`
* queues: `redrive`, `dead_letters`
* requests to SQS: `requests`, `credentials`, `forks`, `observer`, `sqs_errors`
"""

from be_queue.transport.channel import Channel, Transport
from be_queue.transport.observer import Observer
from be_queue.transport.receiving import Gate

__all__ = ['Channel', 'Gate', 'Observer', 'Transport']
