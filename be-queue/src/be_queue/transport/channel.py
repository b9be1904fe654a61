"""The channel of the transport: where kombu calls the parts. Private names of kombu live here."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cached_property
from time import monotonic
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from kombu.transport import SQS
from kombu.transport.virtual import base
from kombu.utils.functional import maybe_list

from be_queue.errors import NoRemoteControlError
from be_queue.naming import FIFO_SUFFIX
from be_queue.transport import capacity, credentials, forks, publishing
from be_queue.transport.acks import Acks
from be_queue.transport.capacity import Capacity
from be_queue.transport.dead_letters import DeadLetters
from be_queue.transport.delays import HELD_SECONDS, Redelivery, due_at, seconds_left
from be_queue.transport.hand_back import HandBack, receive_count
from be_queue.transport.message_check import MessageCheck, task_consumer
from be_queue.transport.messages import with_copied_attributes
from be_queue.transport.observer import Observer, watch_requests
from be_queue.transport.qos import QoS
from be_queue.transport.receiving import Gate, Receiving
from be_queue.transport.redrive import Redrive
from be_queue.transport.requests import OnError, OnSuccess, Requests
from be_queue.transport.shutdown import stop_consuming
from be_queue.transport.visibility import Visibility

__all__ = ['Channel', 'Transport']

logger = logging.getLogger(__name__)

#: ``client-config`` where none is given; botocore retries requests that SQS throttles or fails with
#: 5xx.
CLIENT_CONFIG: dict[str, Any] = {
    'connect_timeout': 5,  # seconds
    'read_timeout': 10,
    'retries': {'mode': 'standard', 'total_max_attempts': 5},
}
#: For a FIFO queue that gets copies, each task's in a group of its own. Without these SQS takes
#: 300 requests a second for all groups together.
HIGH_THROUGHPUT = {
    'DeduplicationScope': 'messageGroup',
    'FifoThroughputLimit': 'perMessageGroupId',
}


class Consumer(NamedTuple):
    """A consumer of a queue."""

    tag: str
    no_ack: bool
    callback: Callable[[Any], object]


class Channel(SQS.Channel):
    """kombu's, with its sending, receiving, acknowledging and declaring replaced.

    A subclass may override `observer` and `gate`.
    """

    QoS = QoS
    #: Text goes as it is, unless the option of this name says otherwise.
    body_encoding = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: The pollers, once the event loop consumes.
        self.receiving: Receiving | None = None
        #: Send messages for later again, by the queue's URL.
        self.redeliveries: dict[str, Redelivery] = {}
        self._acks: dict[str, Acks] = {}
        #: By queue.
        self._consumed: dict[str, Consumer] = {}
        self._checks: dict[str, MessageCheck] = {}
        #: The thread that consumes, which is that of the event loop if there is one.
        self._thread = 0
        self._is_closing = False
        self._sts_session: dict[str, Any] = {}
        super().__init__(*args, **kwargs)
        self.requests = Requests(self.hub, self.blocking_sqs, self.observer)
        seconds = self.transport_options.get('prefetch_seconds', capacity.DEFAULT_SECONDS)
        self.capacity = Capacity(float(seconds))
        self.visibility = Visibility(self)
        self.hand_back = HandBack(self)
        self.dead_letters = DeadLetters(self)

    @cached_property
    def observer(self) -> Observer:
        """Is told of requests and messages."""
        return Observer()

    @cached_property
    def gate(self) -> Gate:
        """Can hold receives back."""
        return Gate()

    @cached_property
    def redrive(self) -> Redrive:
        """Creates and repairs dead-letter queues."""
        return Redrive(self)

    # Clients.

    @cached_property
    def transport_options(self) -> dict[str, Any]:
        """kombu's, with defaults of our own."""
        given: dict[str, Any] = super().transport_options
        client = copy.deepcopy(CLIENT_CONFIG) | (given.get('client-config') or {})
        return {'sqs_base64_encoding': False} | given | {'client-config': client}

    def blocking_sqs(self, queue: str) -> Any:
        """Return the boto3 client for the queue."""
        return self.sqs(queue=self.canonical_queue_name(queue) if self.predefined_queues else None)

    def get_sts_credentials(self) -> Any:
        """Return one session for all queues; kombu renews only that of the first that asks."""
        session = self._sts_session
        if not session or session['Expiration'] <= datetime.now(timezone.utc):
            session.update(super().get_sts_credentials())
            self._predefined_queue_clients.clear()
        return session

    @staticmethod
    def generate_sts_session_token(role_arn: str, token_expiry_seconds: int) -> Any:
        return credentials.assume_role(role_arn, token_expiry_seconds)

    def _new_boto_client(self, *args: Any, **kwargs: Any) -> Any:
        client = super()._new_boto_client(*args, **kwargs)
        credentials.renew_when_expired(client)
        watch_requests(client, self.observer)
        forks.channels.add(self)
        return client

    # Queues.

    @property
    def queue_urls(self) -> dict[str, str]:
        """The known URLs by SQS name."""
        urls: dict[str, str] = self._queue_cache
        return urls

    def url_of(self, queue: str) -> str:
        """Return the URL of a queue, which is created if it may be."""
        url: str = self._new_queue(queue)
        return url

    def differences(self, queue: str) -> list[str]:
        """Return a line for each thing about a queue that is not on SQS as it must be."""
        return self.redrive.differences(queue)

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        if self.redrive.creates or self.predefined_queues:
            super()._update_queue_cache(queue_name_prefix)
        elif hasattr(self, 'hub'):  # for one queue, by its full name
            self.redrive.find(queue_name_prefix)
        else:  # the channel is being made, and kombu would list all queues
            self.redrive.probe()

    def _create_queue(self, queue_name: str, attributes: dict[str, str]) -> Any:
        if queue_name.endswith(FIFO_SUFFIX) and queue_name in map(
            self.canonical_queue_name, self.copies_to
        ):
            attributes = HIGH_THROUGHPUT | attributes
        return self.redrive.create(queue_name, attributes, super()._create_queue)

    def exchange_declare(self, exchange: str | None = None, *args: Any, **kwargs: Any) -> Any:
        # kombu's pidbox: a command to all workers, and the exchange of their replies.
        if exchange is not None and exchange.endswith('.pidbox'):
            raise NoRemoteControlError
        return super().exchange_declare(exchange, *args, **kwargs)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        if queue is not None and queue.startswith('celeryev.'):  # of a receiver of events
            raise NoRemoteControlError
        try:
            return super().queue_declare(queue, passive, **kwargs)
        except ClientError as error:
            if error.operation_name != 'GetQueueAttributes':
                raise
            self.redrive.tolerate(error)  # kombu wants to know how many messages there are
            return base.queue_declare_ok_t(queue, 0, 0)

    def queue_purge(self, queue: str, **kwargs: Any) -> int:
        waiting: int = self.queue_declare(queue, passive=True).message_count
        super().queue_purge(queue, **kwargs)  # which returns ten readings of it, added up
        return waiting

    # Sending.

    @cached_property
    def copies_to(self) -> frozenset[str]:
        """Queues that get copies only: nobody runs a task that is sent to no other."""
        return frozenset(maybe_list(self.transport_options.get('copies_to')) or ())

    def queues_for(self, exchange: str, routing_key: str) -> list[str]:
        """Return the queues that a message goes to."""
        return sorted(queue for queue in self._lookup(exchange, routing_key) if queue)

    def delay_of(self, properties: dict[str, Any]) -> int | None:
        """Return the DelaySeconds that the sender gave."""
        delay: int | None = self._resolve_delay_seconds(properties)
        return delay

    def encode_body(self, body: Any, encoding: str | None = None) -> Any:
        # Bytes, pickled or compressed, have no place in JSON.
        return super().encode_body(body, 'base64' if isinstance(body, bytes) else encoding)

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **kwargs: Any) -> None:
        if exchange and self.typeof(exchange).type == 'fanout':  # goes to SNS, if anywhere
            super().basic_publish(message, exchange, routing_key, **kwargs)
            return
        self._inplace_augment_message(message, exchange, routing_key)
        publishing.publish(self, message, exchange, routing_key)

    # Receiving.

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, *args: Any, **kwargs: Any
    ) -> None:
        if not self.requests.in_loop:
            self._thread = threading.get_ident()
        consumer = task_consumer(callback)
        if consumer is not None:
            self.redrive.prepare_to_consume(queue)
            callback = MessageCheck(consumer, callback, self.dead_letters.move)
            self._checks[queue] = callback
        self._consumed[queue] = Consumer(consumer_tag, no_ack, callback)
        super().basic_consume(queue, no_ack, callback, consumer_tag, *args, **kwargs)

    def _schedule_queue(self, queue: str) -> None:
        # A thread beside the loop receives by itself, with a blocking client.
        if self._thread != threading.get_ident() or not self.consumes(queue):
            return
        if self.receiving is None:
            weights = self.transport_options.get('weights') or {}
            self.receiving = Receiving(self, self.capacity, weights)
        self.requests.in_loop = True
        self.hub.on_tick.add(self._on_tick)
        self.visibility.start()
        self.receiving.start(queue)

    def _on_tick(self) -> None:
        """Begin what is to be done before the event loop sleeps."""
        if self.receiving is not None:
            self.receiving.dispatch()
        self.requests.check()

    def consumes(self, queue: str) -> bool:
        """Return whether there is a consumer of the queue."""
        return queue in self._consumed

    def receive(
        self, queue: str, count: int, wait: bool, on_success: OnSuccess, on_error: OnError
    ) -> None:
        """Ask SQS for ``count`` messages, 10 at most; ``wait`` for the first if there is none."""
        seconds = self.wait_time_seconds if wait else 0
        params = self._receive_params(queue, count, seconds)
        self.requests.call(queue, 'ReceiveMessage', params, on_success, on_error, seconds)

    def deliver(self, queue: str, messages: list[dict[str, Any]]) -> tuple[int, float | None]:
        """Hand messages to the queue's consumer; one that it cannot take stops no other.

        Returns how many that were, the others being for later, and when the oldest of them could
        have run, in seconds since 1970.
        """
        url = self.url_of(queue)
        consumer = self._consumed.get(queue)
        if consumer is None or (self.receiving is not None and self.receiving.stopped):
            self.hand_back.release_handles(queue, url, [m['ReceiptHandle'] for m in messages])
            return 0, None
        received_at, for_later = monotonic(), 0
        oldest: float | None = None
        for message in messages:
            try:
                payload = self._message_to_python(message, queue, url)
                if not queue.endswith(FIFO_SUFFIX) and seconds_left(payload) > HELD_SECONDS:
                    if url not in self.redeliveries:
                        self.redeliveries[url] = Redelivery(self, queue, url)
                    self.redeliveries[url].add(message, payload)
                    for_later += 1
                    continue
                info = payload.get('properties', {}).get('delivery_info', {})
                info['received_at'] = received_at
                info['due_at'] = due = due_at(message, payload)
                oldest = due if oldest is None else min(due, oldest)
                received = self.Message(payload, channel=self)
                if not consumer.no_ack:
                    self.qos.append(received, received.delivery_tag)
                consumer.callback(received)
            except Exception as error:  # noqa: BLE001  (any message may provoke any error)
                self.dead_letters.not_delivered(queue, url, message, error)
        return len(messages) - for_later, oldest

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        """Receive without an event loop, as kombu does but for the visibility timeout."""
        wait = self.wait_time_seconds if wait_time_seconds is None else wait_time_seconds
        client = self.blocking_sqs(queue)
        # An answer that takes longer than the client waits for is lost, with its messages.
        wait = max(0, min(wait, int(client.meta.config.read_timeout) - 1))
        return client.receive_message(**self._receive_params(queue, max_number_of_messages, wait))

    def _receive_params(self, queue: str, count: int, wait: int) -> dict[str, Any]:
        return {
            'QueueUrl': self.url_of(queue),
            'MaxNumberOfMessages': count,
            'WaitTimeSeconds': wait,
            # Ours, whatever the queue has been created with.
            'VisibilityTimeout': self.visibility_timeout,
            **self._received_attributes,
        }

    @cached_property
    def _received_attributes(self) -> dict[str, list[str]]:
        attributes = with_copied_attributes(self.get_message_attributes)
        system = attributes['MessageSystemAttributeNames']
        return attributes | {'MessageSystemAttributeNames': sorted({*system, 'SentTimestamp'})}

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Any:
        payload = super()._message_to_python(message, queue_name, q_url)
        info = payload.get('properties', {}).get('delivery_info', {})
        if not isinstance(info.get('routing_key'), str):
            info['routing_key'] = queue_name  # not of a Celery message
        # The routing key is the sender's choice, and in a copy that of another queue.
        info['received_from'] = queue_name
        return payload

    def basic_qos(self, *args: Any, **kwargs: Any) -> None:
        super().basic_qos(*args, **kwargs)
        self._wake()

    def _wake(self) -> None:
        if self.receiving is not None:
            self.receiving.wake()

    # Holding, acknowledging and rejecting.

    def held(self) -> list[tuple[str, Any]]:
        """Return receipt handle and message of all that is received and not yet settled."""
        # Copies: a thread asks, while others receive and acknowledge.
        held = list(self.qos.held.copy().items())
        return held + [item for r in self.redeliveries.copy().values() for item in r.held()]

    def hold(self, payload: dict[str, Any]) -> None:
        """Hold a message that is not handed to a consumer."""
        message = self.Message(payload, channel=self)
        self.qos.append(message, message.delivery_tag)

    def let_go(self, delivery_tag: str) -> None:
        """Hold a message no longer: unless it is deleted, it comes back when it is visible."""
        self.qos.ack(delivery_tag)
        if self.receiving is not None:
            self.receiving.settled()

    def acks(self, queue: str, url: str) -> Acks:
        """Return what deletes messages of the queue."""
        if url not in self._acks:
            self._acks[url] = Acks(self, queue, url)
        return self._acks[url]

    def pending_acks(self) -> list[tuple[str, str, list[str]]]:
        """Return queue, URL and receipt handles of what is to be deleted."""
        return [(acks.queue, url, acks.pending) for url, acks in self._acks.copy().items()]

    def flush_acks(self) -> None:
        """Delete what is to be deleted, and wait for it."""
        for acks in self._acks.copy().values():
            acks.flush()
            if self._is_closing:
                acks.give_up()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        if self._hand_over(self.basic_ack, delivery_tag):
            return
        message = self.qos.held.get(delivery_tag)
        self.let_go(delivery_tag)
        if message is not None:
            info = message.delivery_info
            self.acks(info['received_from'], info['sqs_queue']).add(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self._hand_over(self.basic_reject, delivery_tag, requeue):
            return
        is_checked = any(check.current == delivery_tag for check in self._checks.values())
        if requeue or not self.dead_letters.reject(delivery_tag, is_checked):
            super().basic_reject(delivery_tag, requeue=requeue)
        self._wake()

    def _restore(self, message: Any, *args: Any) -> None:
        """Hand a message back to the queue that it came from.

        kombu routes it anew, and by its exchange to the platform queue as well. There SQS refuses
        its receipt handle, and the refusal would end the worker.
        """
        pause = 0.0
        # A worker does not retry a message that kills its process in a tight loop; a consumer
        # without an event loop paces itself.
        if self.receiving is not None and not self._is_closing:
            receives = receive_count(message.delivery_info)
            pause = max(self.wait_time_seconds, 1) * 2 ** min(receives - 1, 10)
        self.hand_back.restore(message, int(min(pause, self.visibility_timeout)))

    def _hand_over(self, function: Callable[..., object], *args: Any) -> bool:
        """Have the event loop's thread call a function if this is another; return whether it is.

        Neither the event loop nor its HTTP client may be used by two threads.
        """
        if not self.requests.in_loop or threading.get_ident() == self._thread:
            return False
        self.hub.call_soon(function, *args)
        return True

    # The end.

    @property
    def drain_timeout(self) -> float:
        """Seconds that the end waits for requests in flight: by default for a long poll."""
        given = self.transport_options.get('drain_timeout')
        return self.wait_time_seconds + 1.0 if given is None else float(given)

    def basic_cancel(self, consumer_tag: str) -> None:
        if self._hand_over(self.basic_cancel, consumer_tag):
            return
        self._consumed = {q: c for q, c in self._consumed.items() if c.tag != consumer_tag}
        super().basic_cancel(consumer_tag)
        if not self._consumed and self.requests.in_loop and not self._is_closing:
            stop_consuming(self)

    def close(self) -> None:
        self._is_closing = True
        if self.hub is not None:
            self.hub.on_tick.discard(self._on_tick)
        self.requests.in_loop = False
        self.visibility.stop()
        if self.receiving is not None:
            self.receiving.stop()
        self.flush_acks()
        super().close()


class Transport(SQS.Transport):
    """For Celery's ``broker_transport``, as ``be_queue.transport:Transport``."""

    Channel = Channel
