"""Where kombu calls the parts of this transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport import SQS, virtual

from be_queue.transport.acks import Acks
from be_queue.transport.capacity import SECONDS, Capacity
from be_queue.transport.qos import QoS
from be_queue.transport.receiving import Receiving
from be_queue.transport.release import release
from be_queue.transport.requests import AsyncSqs, OnError, OnSuccess
from be_queue.transport.stopping import await_receives, release_unstarted
from be_queue.transport.visibility import Visibility

__all__ = ['Channel', 'Transport']

logger = logging.getLogger(__name__)


class Channel(SQS.Channel):
    """kombu's, with its receiving and acknowledging replaced where an event loop runs."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.capacity = Capacity()
        #: The pollers, once the event loop consumes.
        self.receiving: Receiving | None = None
        self._acks: dict[str, Acks] = {}
        self._async_clients: dict[Any, AsyncSqs] = {}
        self._visibility: Visibility | None = None
        #: The event loop calls us back.
        self._loop_turns = False
        self._closing = False
        super().__init__(*args, **kwargs)
        self.capacity.seconds = float(self.transport_options.get('prefetch_seconds', SECONDS))

    def consumes(self, queue: str) -> bool:
        """Return whether there is a consumer of the queue."""
        return queue in self._active_queues

    def receive(
        self, queue: str, count: int, wait: bool, on_success: OnSuccess, on_error: OnError
    ) -> None:
        """Ask SQS for messages of the queue.

        Arguments:
            count: how many, 10 at most.
            wait: wait for the first if there is none.
        """
        takes = self.wait_time_seconds if wait else 0
        params = self._receive_params(queue, count, takes)
        self.async_sqs(queue).call('ReceiveMessage', params, on_success, on_error, takes=takes)

    @property
    def drain_timeout(self) -> float:
        """Seconds that the end waits for receives in flight: by default until SQS answers them."""
        given = self.transport_options.get('drain_timeout')
        return self.wait_time_seconds + 1.0 if given is None else float(given)

    def held(self) -> list[tuple[str, Any]]:
        """Return receipt handle and message of all that is received and not yet settled."""
        settled = self.qos._dirty
        return [item for item in self.qos._delivered.copy().items() if item[0] not in settled]

    def deliver(self, queue: str, messages: list[dict[str, Any]]) -> None:
        """Hand messages to the queue's consumer; one that it cannot take stops no other."""
        callback: Callable[[Any], object] | None = self.connection._callbacks.get(queue)
        url = self._new_queue(queue)
        if callback is None:
            release(self, [(queue, url, message['ReceiptHandle']) for message in messages])
            return
        received_at = time.monotonic()
        for message in messages:
            try:
                payload = self._message_to_python(message, queue, url)
                info = payload.get('properties', {}).get('delivery_info', {})
                info['received_at'] = received_at
                callback(payload)
            except Exception:
                logger.exception(
                    'a message cannot be read and is left to come back, at last to the '
                    'dead-letter queue: queue=%s message_id=%s',
                    queue,
                    message.get('MessageId'),
                )

    def async_sqs(self, queue: str) -> AsyncSqs:
        """Return what asks SQS about the queue from the event loop."""
        client = self.blocking_sqs(queue)
        if client not in self._async_clients:
            self._async_clients[client] = AsyncSqs(self.hub, client)
        return self._async_clients[client]

    def blocking_sqs(self, queue: str) -> Any:
        """Return the boto3 client for the queue."""
        return self.sqs(queue=self.canonical_queue_name(queue) if self.predefined_queues else None)

    def _schedule_queue(self, queue: str) -> None:
        if self.receiving is None:
            weights = self.transport_options.get('weights') or {}
            self.receiving = Receiving(self, self.capacity, weights)
        if self._visibility is None:
            self._visibility = Visibility(self)
        self._visibility.start()
        self._loop_turns = True
        self.receiving.start(queue)

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        """Receive without an event loop, as kombu does but for the visibility timeout."""
        wait = self.wait_time_seconds if wait_time_seconds is None else wait_time_seconds
        params = self._receive_params(queue, max_number_of_messages, wait)
        return self.blocking_sqs(queue).receive_message(**params)

    def _receive_params(self, queue: str, count: int, wait: int) -> dict[str, Any]:
        attributes = self.get_message_attributes
        return {
            'QueueUrl': self._new_queue(queue),
            'MaxNumberOfMessages': count,
            'WaitTimeSeconds': wait,
            # Ours, whatever whoever made the queue gave it.
            'VisibilityTimeout': self.visibility_timeout,
            **{name: names for name, names in attributes.items() if names},
        }

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        acks = self._acks_of(delivery_tag)
        if acks is None:
            super().basic_ack(delivery_tag, multiple)
        else:
            acks.add(delivery_tag)
            # Past kombu's SQS channel, which would delete the message as well.
            virtual.Channel.basic_ack(self, delivery_tag, multiple)
        self._wake()

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        super().basic_reject(delivery_tag, requeue=requeue)
        self._wake()

    def basic_qos(self, *args: Any, **kwargs: Any) -> None:
        super().basic_qos(*args, **kwargs)
        self._wake()

    def basic_cancel(self, consumer_tag: str) -> None:
        super().basic_cancel(consumer_tag)
        if not self._consumers and self.receiving is not None and not self._closing:
            self._stop_consuming(self.receiving)

    def _stop_consuming(self, receiving: Receiving) -> None:
        """Do what needs the event loop, which may not turn any more."""
        receiving.stop()
        release_unstarted(self)
        await_receives(self, self.drain_timeout)
        self._loop_turns = False
        self._flush_acks()
        if self._visibility is not None:
            self._visibility.go_on_in_thread()

    def close(self) -> None:
        self._closing = True
        if self._visibility is not None:
            self._visibility.stop()
        if self.receiving is not None:
            self.receiving.stop()
        self._flush_acks()
        super().close()

    def _acks_of(self, delivery_tag: str) -> Acks | None:
        """Return where to leave a message to be deleted; None when no event loop would do it."""
        if not self._loop_turns:
            return None
        try:
            info = self.qos.get(delivery_tag).delivery_info
            queue, url = info['routing_key'], info['sqs_queue']
        except KeyError:
            return None
        if url not in self._acks:
            self._acks[url] = Acks(self, queue, url)
        return self._acks[url]

    def _flush_acks(self) -> None:
        for acks in self._acks.values():
            acks.flush()

    def _wake(self) -> None:
        if self.receiving is not None:
            self.receiving.wake()

    def _restore(self, message: Any, *args: Any) -> None:
        """Hand a message back to the queue that it came from.

        kombu routes it anew, and by the exchange it belongs to the platform queue as well. There
        SQS refuses its receipt handle, and the refusal would end the worker.
        """
        info = message.delivery_info
        try:
            self.blocking_sqs(info['routing_key']).change_message_visibility(
                QueueUrl=info['sqs_queue'],
                ReceiptHandle=info['sqs_message']['ReceiptHandle'],
                # At the end, for other workers at once. Else as kombu does: a message that kills
                # its process is not retried in a tight loop.
                VisibilityTimeout=0 if self._closing else self.wait_time_seconds,
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
