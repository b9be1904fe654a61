"""Where kombu calls the parts of this transport."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport import SQS, virtual

from be_queue.transport import credentials, sending
from be_queue.transport.acks import Acks
from be_queue.transport.capacity import SECONDS, Capacity
from be_queue.transport.copies import with_what_a_copy_needs
from be_queue.transport.guarded import GuardedChannel
from be_queue.transport.hops import Hops
from be_queue.transport.qos import QoS
from be_queue.transport.receiving import Receiving
from be_queue.transport.release import release
from be_queue.transport.requests import AsyncSqs, OnError, OnSuccess
from be_queue.transport.stopping import await_receives, release_unstarted
from be_queue.transport.visibility import Visibility

__all__ = ['Channel', 'Transport']

logger = logging.getLogger(__name__)


class Channel(GuardedChannel):
    """kombu's, with its receiving and acknowledging replaced where an event loop runs."""

    QoS = QoS
    #: Text goes as it is, unless the option of this name says otherwise.
    body_encoding = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.capacity = Capacity()
        #: The pollers, once the event loop consumes.
        self.receiving: Receiving | None = None
        self.hops = Hops(self)
        self._acks: dict[str, Acks] = {}
        self._async_clients: dict[str, AsyncSqs] = {}
        self._sts_session: Any = None
        #: The event loop calls us back.
        self._loop_turns = False
        self._closing = False
        super().__init__(*args, **kwargs)
        self.capacity.seconds = float(self.transport_options.get('prefetch_seconds', SECONDS))

    @cached_property
    def visibility(self) -> Visibility:
        """What keeps held messages hidden."""
        return Visibility(self)

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
        held = [item for item in self.qos._delivered.copy().items() if item[0] not in settled]
        return held + self.hops.held()

    def deliver(self, queue: str, messages: list[dict[str, Any]]) -> None:
        """Hand messages to the queue's consumer; one that it cannot take stops no other."""
        callback: Callable[[Any], object] | None = self.connection._callbacks.get(queue)
        url = self._new_queue(queue)
        if callback is None or (self.receiving is not None and self.receiving.stopped):
            release(self, [(queue, url, message['ReceiptHandle']) for message in messages])
            return
        received_at = time.monotonic()
        for message in messages:
            try:
                payload = self._message_to_python(message, queue, url)
                if self.hops.take(queue, url, message, payload):
                    continue
                info = payload.get('properties', {}).get('delivery_info', {})
                info['received_at'] = received_at
                callback(payload)
            except Exception as error:  # noqa: BLE001  (whatever a stranger's message provokes)
                self.dead_letters.not_delivered(queue, url, message, error)

    def pending_acks(self) -> list[tuple[str, str, list[str]]]:
        """Return queue, URL and receipt handles of what is to be deleted."""
        return [acks.pending for acks in self._acks.values()]

    def acks(self, queue: str, url: str) -> Acks:
        """Return what deletes messages of the queue."""
        if url not in self._acks:
            self._acks[url] = Acks(self, queue, url)
        return self._acks[url]

    @property
    def get_message_attributes(self) -> dict[str, Any]:
        """What is received with each message."""
        return with_what_a_copy_needs(super().get_message_attributes)

    def async_sqs(self, queue: str) -> AsyncSqs:
        """Return what asks SQS about the queue from the event loop."""
        if queue not in self._async_clients:
            self._async_clients[queue] = AsyncSqs(self.hub, partial(self.blocking_sqs, queue))
        return self._async_clients[queue]

    def blocking_sqs(self, queue: str) -> Any:
        """Return the boto3 client for the queue."""
        return self.sqs(queue=self.canonical_queue_name(queue) if self.predefined_queues else None)

    def _new_boto_client(self, *args: Any, **kwargs: Any) -> Any:
        client = super()._new_boto_client(*args, **kwargs)
        credentials.heal(client)
        return client

    def get_sts_credentials(self) -> Any:
        """Return one session for all queues; kombu renews that of the first queue that asks."""
        session = self._sts_session
        if session is None or session['Expiration'] <= datetime.now(timezone.utc):
            session = self._sts_session = super().get_sts_credentials()
            self._predefined_queue_clients.clear()
        return session

    @staticmethod
    def generate_sts_session_token(role_arn: str, token_expiry_seconds: int) -> Any:
        return credentials.assume_role(role_arn, token_expiry_seconds)

    def _schedule_queue(self, queue: str) -> None:
        if self.receiving is None:
            weights = self.transport_options.get('weights') or {}
            self.receiving = Receiving(self, self.capacity, weights)
        self.visibility.start()
        self._loop_turns = True
        self.receiving.start(queue)

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        """Receive without an event loop, as kombu does but for the visibility timeout."""
        wait = self.wait_time_seconds if wait_time_seconds is None else wait_time_seconds
        client = self.blocking_sqs(queue)
        # An answer that takes longer than the client waits for is lost, with its messages.
        wait = max(0, min(wait, int(client.meta.config.read_timeout) - 1))
        params = self._receive_params(queue, max_number_of_messages, wait)
        return client.receive_message(**params)

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

    @cached_property
    def transport_options(self) -> dict[str, Any]:
        """kombu's, with defaults of our own."""
        defaults = copy.deepcopy(sending.DEFAULTS)
        given: dict[str, Any] = super().transport_options
        client = defaults['client-config'] | (given.get('client-config') or {})
        return defaults | given | {'client-config': client}

    def encode_body(self, body: Any, encoding: str | None = None) -> Any:
        # Bytes, pickled or compressed, have no place in JSON.
        return super().encode_body(body, 'base64' if isinstance(body, bytes) else encoding)

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **kwargs: Any) -> None:
        if exchange and self.typeof(exchange).type == 'fanout':  # goes to SNS, if anywhere
            super().basic_publish(message, exchange, routing_key, **kwargs)
            return
        self._inplace_augment_message(message, exchange, routing_key)
        sending.publish(self, message, exchange, routing_key)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        sending.publish(self, message, '', queue)

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

    def let_go(self, delivery_tag: str) -> None:
        super().let_go(delivery_tag)
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
        self.visibility.pause()
        self.hops.stop()
        release_unstarted(self)
        self.visibility.go_on_in_thread()
        await_receives(self, self.drain_timeout)
        self._loop_turns = False
        self._flush_acks()

    def close(self) -> None:
        self._closing = True
        self.visibility.stop()
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
        return self.acks(queue, url)

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
                VisibilityTimeout=0 if self._closing else self._pause_before_retry(info),
            )
        except (ClientError, BotoCoreError) as error:
            logger.warning(
                'a message was not handed back and comes back after its visibility timeout: '
                'queue=%s error=%s',
                info['sqs_queue'],
                error,
            )

    def _pause_before_retry(self, info: dict[str, Any]) -> int:
        """Return for how many seconds a message that was handed back stays hidden.

        One that kills its process is not tried again in a tight loop.
        """
        attempts = int(info['sqs_message'].get('Attributes', {}).get('ApproximateReceiveCount', 1))
        pause = max(self.wait_time_seconds, 1) * 2 ** min(attempts - 1, 10)
        return int(min(pause, self.visibility_timeout))


class Transport(SQS.Transport):
    """For Celery's ``broker_transport``, as ``be_queue.transport:Transport``."""

    Channel = Channel
