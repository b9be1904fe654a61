"""Sends what nobody can run to the dead-letter queue, at once and untouched.

    message -> target known -> sent -> confirmed, and the original deleted
                   ^             |
               looked up         +-> failed: left to come back after its visibility timeout

SQS itself moves what was received ``max_receives`` times; this is for what another receive would
not make better. Until the copy is confirmed the original is held, and it comes back when its
worker ends before.
"""

from __future__ import annotations

import base64
import logging
import time
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from celery import current_app
from kombu.transport import virtual

from be_queue.naming import FIFO_SUFFIX
from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.clients.requests import OnError, OnSuccess
from be_queue.transport.clients.sqs_errors import is_missing
from be_queue.transport.dead_letters.targets import Target, find_target
from be_queue.transport.queues.policy import name_of
from be_queue.transport.sending.copies import copy_of

__all__ = ['MESSAGE_ID', 'REASON', 'SOURCE', 'DeadLetters']

logger = logging.getLogger(__name__)

#: The message attributes that a dead letter gets, the most telling first.
REASON = 'dead_letter_reason'
SOURCE = 'dead_letter_source'
MESSAGE_ID = 'dead_letter_message_id'
#: Message attributes of a message, a limit of SQS.
MOST_ATTRIBUTES = 10
#: Characters of a reason.
REASON_LENGTH = 300


@dataclass(frozen=True, eq=False)
class DeadLetter:
    """A message that goes to the dead-letter queue.

    Arguments:
        queue: the queue's name in kombu.
        url: its URL on SQS.
        message: as SQS gave it.
        reason: why.
        disposable: without a dead-letter queue it is deleted, as AMQP does with a rejected message.
    """

    queue: str
    url: str
    message: dict[str, Any]
    reason: str
    disposable: bool

    @property
    def handle(self) -> str:
        return str(self.message['ReceiptHandle'])

    def params(self, target: str) -> dict[str, Any]:
        """Return what SendMessage takes for it."""
        params = copy_of(self.message, 0)
        del params['DelaySeconds']  # which FIFO queues refuse
        kept = {
            name: value
            for name, value in params.get('MessageAttributes', {}).items()
            if name not in (REASON, SOURCE, MESSAGE_ID)  # it was here before
        }
        own = {
            REASON: self.reason,
            SOURCE: name_of(self.url),
            MESSAGE_ID: str(self.message.get('MessageId')),
        }
        room = MOST_ATTRIBUTES - len(kept)
        added = {
            name: {'DataType': 'String', 'StringValue': text}
            for name, text in list(own.items())[:room]
        }
        params |= {'QueueUrl': target, 'MessageAttributes': kept | added}
        if target.endswith(FIFO_SUFFIX):
            params.setdefault('MessageGroupId', 'default')
            # Sent twice it arrives once.
            params['MessageDeduplicationId'] = own[MESSAGE_ID]
        return params


class DeadLetters:
    """Moves messages of a channel to their dead-letter queues.

    Arguments:
        channel: the `Channel` that holds the messages.
    """

    def __init__(self, channel: Any) -> None:
        #: Receipt handles of messages on their way.
        self.moving: set[str] = set()
        self._channel = channel
        self._targets: dict[str, Target] = {}
        #: Those that wait for their target to be looked up, by the URL of their queue.
        self._waiting: dict[str, list[DeadLetter]] = {}
        self._outages: dict[str, Outage] = {}
        self._warned: set[str] = set()

    @property
    def in_flight(self) -> int:
        """Messages on their way."""
        return len(self.moving)

    def move(self, tag: str, reason: str, disposable: bool = False) -> None:
        """Move a message that is held; at once where no event loop turns."""
        info = self._channel.qos.get(tag).delivery_info
        queue, url = info['received_from'], info['sqs_queue']
        letter = DeadLetter(queue, url, info['sqs_message'], _printable(reason), disposable)
        self.moving.add(tag)
        target = self._targets.get(url)
        if target is not None and target.holds:
            self._send(letter, target)
        elif url in self._waiting:
            self._waiting[url].append(letter)
        else:
            self._waiting[url] = [letter]
            find_target(
                self._channel.redrive,
                queue,
                url,
                lambda *request: self._ask(queue, *request),
                lambda target: self._found(url, target),
            )

    def not_delivered(
        self, queue: str, url: str, message: dict[str, Any], error: Exception
    ) -> None:
        """Take a message that kombu could not read, or that its consumer failed to take."""
        tag = message['ReceiptHandle']
        if tag in self._channel.qos._delivered:
            logger.exception(
                'a message could not be handed over and comes back after its visibility timeout, '
                'at last to the dead-letter queue: queue=%s message_id=%s',
                queue,
                message.get('MessageId'),
            )
            self._channel.let_go(tag)
            return
        info = {
            'routing_key': queue,
            'received_from': queue,
            'sqs_queue': url,
            'sqs_message': message,
            'received_at': time.monotonic(),
        }
        envelope = {'properties': {'delivery_tag': tag, 'delivery_info': info}}
        self._channel.qos.append(virtual.Message(envelope, channel=self._channel), tag)
        self.move(tag, f'cannot be read: {type(error).__name__}: {error}')

    def reject(self, tag: str, passing: bool) -> bool:
        """Move a message that was rejected; return False when it is for kombu to do so.

        Arguments:
            passing: its task was not started.
        """
        qos = self._channel.qos
        try:
            message = qos.get(tag)
            info = message.delivery_info
            info['sqs_message']
        except KeyError:
            return False
        if qos.is_backoff_task(tag):
            return False
        name = (message.headers or {}).get('task') or _task_in(message)
        if not passing:
            who = 'task' if 'received_at' in info else 'consumer'  # as in app/monitor
            self.move(tag, f'rejected by its {who}: {name}', disposable=True)
        elif name in current_app.tasks:
            self.move(tag, f'refused by Celery: {name}')
        else:
            self.move(tag, f'unknown task: {name}')
        return True

    def _found(self, url: str, target: Target) -> None:
        self._targets[url] = target
        letters = self._waiting.pop(url)
        if not target.url and target.is_certain and url not in self._warned:
            self._warned.add(url)
            logger.warning(
                'a queue has no dead-letter queue that can be used: queue=%s; what cannot be run '
                'comes back after its visibility timeout, again and again: give the queue a '
                'redrive policy, and this worker sqs:GetQueueUrl and SendMessage on the '
                'dead-letter queue',
                name_of(url),
            )
        for letter in letters:
            self._send(letter, target)

    def _send(self, letter: DeadLetter, target: Target) -> None:
        if not target.url:
            if letter.disposable and target.is_certain and not target.has_policy:
                self._delete(letter)
            else:
                self._let_go(letter)
            return
        name = name_of(target.url)
        outage = self._outages.setdefault(
            name, Outage(f'sending to dead-letter queue {name}', hint=CHECK_SQS)
        )
        asked_at = time.monotonic()

        def sent(_: dict[str, Any]) -> None:
            outage.ended()
            logger.warning(
                'dead letter: queue=%s message_id=%s reason=%s dead_letter_queue=%s; look at it '
                'there, mend what sent it, then send it back or delete it',
                name_of(letter.url),
                letter.message.get('MessageId'),
                letter.reason,
                name,
            )
            self._delete(letter)

        def failed(error: Exception) -> None:
            outage.failed(error, asked_at)
            if is_missing(error):
                self._targets.pop(letter.url, None)
            self._let_go(letter)

        self._ask(letter.queue, 'SendMessage', letter.params(target.url), sent, failed)

    def _delete(self, letter: DeadLetter) -> None:
        if self._channel.keeps_hidden:
            self._channel.acks(letter.queue, letter.url).add(letter.handle)
        else:
            params = {'QueueUrl': letter.url, 'ReceiptHandle': letter.handle}
            self._ask(letter.queue, 'DeleteMessage', params, _ignore, _report_undeleted)
        self._let_go(letter)

    def _let_go(self, letter: DeadLetter) -> None:
        self.moving.discard(letter.handle)
        self._channel.let_go(letter.handle)

    def _ask(
        self,
        queue: str,
        operation: str,
        params: dict[str, Any],
        on_success: OnSuccess,
        on_error: OnError,
    ) -> None:
        if self._channel._loop_turns:
            self._channel.async_sqs(queue).call(operation, params, on_success, on_error)
            return
        client = self._channel.blocking_sqs(queue)
        try:
            answer = getattr(client, xform_name(operation))(**_for_boto(params))
        except Exception as error:  # noqa: BLE001  (whatever a source of credentials raises)
            on_error(error)
        else:
            on_success(answer)


def _ignore(_: object) -> None:
    pass


def _report_undeleted(error: Exception) -> None:
    logger.warning(
        'a dead letter was not deleted from its queue and will be moved again: %s', error
    )


def _task_in(message: Any) -> Any:
    """Return the task's name in a message of protocol 1."""
    body = message._decoded_cache
    return body.get('task') if isinstance(body, dict) else None


def _printable(text: str) -> str:
    """Return what SQS takes in a message attribute."""
    return ''.join(c if c.isprintable() else '?' for c in text)[:REASON_LENGTH]


def _for_boto(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters for boto3, which takes bytes where JSON has base64."""
    attributes = {
        name: value | {'BinaryValue': base64.b64decode(value['BinaryValue'])}
        if isinstance(value.get('BinaryValue'), str)
        else value
        for name, value in params.get('MessageAttributes', {}).items()
    }
    return params | {'MessageAttributes': attributes} if attributes else params
