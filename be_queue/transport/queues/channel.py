"""Declaring queues: with their dead-letter queues, or by looking them up."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError
from kombu.transport.virtual import base

from be_queue.errors import NoRemoteControlError
from be_queue.transport.clients.channel import ClientChannel
from be_queue.transport.clients.sqs_errors import ERRORS
from be_queue.transport.queues.redrive import Redrive
from be_queue.transport.queues.verify import differences

__all__ = ['DeclaringChannel']

logger = logging.getLogger(__name__)


class DeclaringChannel(ClientChannel):
    """kombu's, but for how queues are found and made."""

    @cached_property
    def redrive(self) -> Redrive:
        """What makes and mends dead-letter queues."""
        return Redrive(self)

    def differences(self, queue: str) -> list[str]:
        """Return a line for each thing about a queue that is not on SQS as it must be."""
        return differences(self.redrive, queue)

    def prepare_to_consume(self, queue: str) -> None:
        """Mend the redrive policy of a queue, or say what is wrong with it."""
        if self.redrive.creates:
            self.redrive.ensure(queue)
            return
        try:
            lines = self.differences(queue)
        except ERRORS as error:
            lines = [f'queue {queue!r} cannot be verified: {error}']
        for line in lines:
            logger.warning('%s', line)

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        if self.redrive.creates or self.predefined_queues:
            super()._update_queue_cache(queue_name_prefix)
        elif hasattr(self, 'hub'):  # a queue is asked for, by its full name
            self.redrive.find(queue_name_prefix)
        else:  # the channel is being made, and kombu would list all queues
            self.redrive.probe()

    def _create_queue(self, queue_name: str, attributes: dict[str, str]) -> Any:
        return self.redrive.create(queue_name, attributes, super()._create_queue)

    def _purge(self, queue: str) -> int:
        # kombu adds up ten readings of the same messages.
        waiting = int(self._size(queue))
        super()._purge(queue)
        return waiting

    def exchange_declare(self, exchange: str | None = None, *args: Any, **kwargs: Any) -> Any:
        # kombu's pidbox: a command to all workers, and the exchange of their replies.
        if exchange is not None and exchange.endswith('.pidbox'):
            raise NoRemoteControlError
        return super().exchange_declare(exchange, *args, **kwargs)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        if queue is not None and queue.startswith('celeryev.'):  # one who listens to events
            raise NoRemoteControlError
        try:
            return super().queue_declare(queue, passive, **kwargs)
        except ClientError as error:
            if error.operation_name != 'GetQueueAttributes':
                raise
            self.redrive.tolerate(error)  # kombu wants to know how many messages there are
            return base.queue_declare_ok_t(queue, 0, 0)
