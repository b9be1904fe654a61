"""Routes undeliverable messages to the dead-letter queue at once, instead of deleting them.

    message -> its queue's policy known -> sent -> confirmed, and the original deleted
                                             |
                                             +-> failed: it comes back after its visibility timeout

SQS itself moves messages that were received ``max_receives`` times; this is for those that another
receive would not make better. The original is held until the copy is confirmed, and comes back when
its worker ends before.
"""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

from celery import current_app

from be_queue.naming import FIFO_SUFFIX, dead_letter_name
from be_queue.outage import CHECK_SQS, Outage
from be_queue.transport.messages import copy_of
from be_queue.transport.redrive_policy import Policy, name_of, url_beside
from be_queue.transport.sqs_errors import is_denied, is_missing

__all__ = ['MESSAGE_ID', 'REASON', 'SOURCE', 'DeadLetter', 'DeadLetters']

logger = logging.getLogger(__name__)

#: The message attributes that a dead letter gets, the most telling first.
REASON = 'dead_letter_reason'
SOURCE = 'dead_letter_source'
MESSAGE_ID = 'dead_letter_message_id'
#: Message attributes of a message, a limit of SQS.
MAX_ATTRIBUTES = 10
#: Characters of a reason.
MAX_REASON_LENGTH = 300


class DeadLetter(NamedTuple):
    """A message, as SQS returned it, that goes to the dead-letter queue."""

    queue: str
    url: str
    message: dict[str, Any]
    reason: str
    #: Without a dead-letter queue it is deleted, as AMQP does with a rejected message.
    is_disposable: bool

    @property
    def handle(self) -> str:
        return str(self.message['ReceiptHandle'])

    def params(self, dead_letter_url: str) -> dict[str, Any]:
        """Return what SendMessage takes for it."""
        params = copy_of(self.message)
        own = {
            REASON: self.reason,
            SOURCE: name_of(self.url),
            MESSAGE_ID: str(self.message.get('MessageId')),
        }
        # It may have been a dead letter before.
        given = params.get('MessageAttributes', {})
        kept = {name: value for name, value in given.items() if name not in own}
        added = {
            name: {'DataType': 'String', 'StringValue': text}
            for name, text in list(own.items())[: MAX_ATTRIBUTES - len(kept)]
        }
        params |= {'QueueUrl': dead_letter_url, 'MessageAttributes': kept | added}
        if dead_letter_url.endswith(FIFO_SUFFIX):
            params.setdefault('MessageGroupId', 'default')
            params['MessageDeduplicationId'] = own[MESSAGE_ID]
        return params


class DeadLetters:
    """Moves messages that a channel holds to their dead-letter queues."""

    def __init__(self, channel: Any) -> None:
        #: Receipt handles of messages on their way.
        self.moving: set[str] = set()
        self._channel = channel
        self._outages: dict[str, Outage] = {}
        self._warned: set[str] = set()

    def move(self, tag: str, reason: str, is_disposable: bool = False) -> None:
        """Move a message that is held; wait for it where no event loop runs.

        It goes to the ``dead_letter_url`` of a predefined queue; without one, to the target of the
        queue's redrive policy; without that, to the dead-letter queue of the usual name.
        """
        info = self._channel.qos.get(tag).delivery_info
        queue, url = info['received_from'], info['sqs_queue']
        reason = ''.join(c if c.isprintable() else '?' for c in reason)[:MAX_REASON_LENGTH]
        letter = DeadLetter(queue, url, info['sqs_message'], reason, is_disposable)
        self.moving.add(tag)
        policies = self._channel.redrive.policies

        def send(has_policy: bool) -> None:
            known = policies.get(url)
            target = name_of(known.target) if known else dead_letter_name(name_of(url))
            self._send(letter, url_beside(url, target), has_policy)

        def read(answer: dict[str, Any]) -> None:
            policy = Policy.parsed(answer.get('Attributes', {}).get('RedrivePolicy'))
            if policy is not None:
                policies[url] = policy
            send(policy is not None)

        def not_read(error: Exception) -> None:
            if is_denied(error):  # there may be a policy: delete nothing that SQS would move
                send(has_policy=True)
            else:
                self._let_go(letter)

        name = self._channel.canonical_queue_name(queue)
        given = self._channel.predefined_queues.get(name, {}).get('dead_letter_url')
        if given is not None:
            self._send(letter, given, bool(given))
        elif url in policies:
            send(has_policy=True)
        else:
            params = {'QueueUrl': url, 'AttributeNames': ['RedrivePolicy']}
            self._channel.requests.call(queue, 'GetQueueAttributes', params, read, not_read)

    def not_delivered(
        self, queue: str, url: str, message: dict[str, Any], error: Exception
    ) -> None:
        """Take a message that kombu could not read, or that its consumer failed to take."""
        tag = message['ReceiptHandle']
        if tag in self._channel.qos.held:
            logger.exception(
                'a message could not be handed over and comes back after its visibility timeout, '
                'at last to the dead-letter queue: queue=%s message_id=%s',
                *(queue, message.get('MessageId')),
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
        self._channel.hold({'properties': {'delivery_tag': tag, 'delivery_info': info}})
        self.move(tag, f'cannot be read: {type(error).__name__}: {error}')

    def reject(self, tag: str, was_checked: bool) -> bool:
        """Move a message that was rejected; return False when it is for kombu to do so.

        Arguments:
            was_checked: Celery's consumer rejects it right now, without having started its task.
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
        task = (message.headers or {}).get('task')
        if not was_checked:
            who = 'task' if 'received_at' in info else 'consumer'  # as in be_queue/worker/monitor
            self.move(tag, f'rejected by its {who}: {task}', is_disposable=True)
        elif task in current_app.tasks:
            self.move(tag, f'refused by Celery: {task}')
        else:
            self.move(tag, f'unknown task: {task}')
        return True

    def _send(self, letter: DeadLetter, dead_letter_url: str, has_policy: bool) -> None:
        """Send a message to a dead-letter queue; '' is none."""
        if not dead_letter_url:
            self._without_queue(letter, has_policy)
            return
        name = name_of(dead_letter_url)
        outage = self._outages.setdefault(
            name, Outage(f'sending to dead-letter queue {name}', hint=CHECK_SQS)
        )
        asked_at = time.monotonic()

        def sent(_: dict[str, Any]) -> None:
            outage.ended()
            logger.warning(
                'dead letter: queue=%s message_id=%s reason=%s dead_letter_queue=%s; look at it '
                'there, fix what sent it, then send it back or delete it',
                *(name_of(letter.url), letter.message.get('MessageId'), letter.reason, name),
            )
            self._delete(letter)

        def failed(error: Exception) -> None:
            if is_missing(error):
                self._channel.redrive.policies.pop(letter.url, None)
                self._without_queue(letter, has_policy)
                return
            outage.failed(error, asked_at)
            self._let_go(letter)

        params = letter.params(dead_letter_url)
        self._channel.requests.call(letter.queue, 'SendMessage', params, sent, failed)

    def _without_queue(self, letter: DeadLetter, has_policy: bool) -> None:
        if letter.url not in self._warned:
            self._warned.add(letter.url)
            logger.warning(
                'a queue has no dead-letter queue that can be used: queue=%s; what cannot be run '
                'comes back after its visibility timeout, again and again: give the queue a '
                'redrive policy, and this worker sqs:SendMessage on the dead-letter queue',
                name_of(letter.url),
            )
        if letter.is_disposable and not has_policy:
            self._delete(letter)
        else:
            self._let_go(letter)

    def _delete(self, letter: DeadLetter) -> None:
        self._channel.acks(letter.queue, letter.url).add(letter.handle)
        self._let_go(letter)

    def _let_go(self, letter: DeadLetter) -> None:
        self.moving.discard(letter.handle)
        self._channel.let_go(letter.handle)
