"""kombu's SQS transport, with messages handed back to the one queue that they came from."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport import SQS

__all__ = ['Channel', 'Transport']

logger = logging.getLogger(__name__)


class Channel(SQS.Channel):
    """Where kombu routes a message anew to hand it back, this knows where it came from.

    By the exchange, a message belongs to the platform queue as well. There SQS refuses its receipt
    handle, and the refusal would end the worker whenever the pool loses a process.
    """

    def _restore(self, message: Any, *args: Any) -> None:
        info = message.delivery_info
        name = self.canonical_queue_name(info['routing_key']) if self.predefined_queues else None
        try:
            self.sqs(queue=name).change_message_visibility(
                QueueUrl=info['sqs_queue'],
                ReceiptHandle=info['sqs_message']['ReceiptHandle'],
                # As kombu does: a message that kills its process is not retried in a tight loop.
                VisibilityTimeout=self.wait_time_seconds,
            )
        except (ClientError, BotoCoreError) as error:
            logger.warning(
                'a message was not handed back and comes back after its visibility timeout: '
                'queue=%s error=%s',
                info['sqs_queue'],
                error,
            )


class Transport(SQS.Transport):
    """For Celery's ``broker_transport``, as ``be_queue.transport:Transport``."""

    Channel = Channel
