"""The dead-letter queue behind each queue: made with it, mended, or looked up.

Which of them, the transport options say: ``create_queues`` (by default True) and ``max_receives``,
a dict by SQS name. Queues in ``predefined_queues`` are never made or changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from be_queue.errors import BeQueueError
from be_queue.naming import FIFO_SUFFIX, dead_letter_name
from be_queue.queues import MAX_RECEIVES
from be_queue.transport.clients.sqs_errors import exists_already, is_denied, is_missing
from be_queue.transport.queues.policy import Policy, arn_beside

__all__ = ['RETENTION', 'Redrive', 'RedriveError']

logger = logging.getLogger(__name__)

#: Seconds that a dead letter is kept, the most that SQS offers: a message keeps its age when SQS
#: moves it, and must not expire before somebody has looked at it.
RETENTION = 14 * 24 * 3600
#: Of ``sqs-creation-attributes``, those that are meant for the work queues alone.
NOT_FOR_DEAD_LETTERS = ('RedrivePolicy', 'RedriveAllowPolicy', 'DelaySeconds')


class RedriveError(BeQueueError):
    """A queue on SQS, or its dead-letter queue, is not there and cannot be made."""


class Redrive:
    """Makes and mends the dead-letter queues of a channel's queues.

    Arguments:
        channel: the `Channel`.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        options = channel.transport_options
        self._max_receives: dict[str, int] = options.get('max_receives') or {}
        self._creation: dict[str, Any] = options.get('sqs-creation-attributes') or {}
        self._may_create = bool(options.get('create_queues', True))
        self._denied: set[str] = set()

    @property
    def creates(self) -> bool:
        """Whether queues may be made and changed."""
        return self._may_create and not self.channel.predefined_queues

    @property
    def is_managed_elsewhere(self) -> bool:
        """Whether ``sqs-creation-attributes`` have a policy of their own."""
        return 'RedrivePolicy' in self._creation

    def max_receives(self, name: str) -> int:
        """Return after how many receives a message of a queue moves."""
        policy = Policy.parsed(self._creation.get('RedrivePolicy'))
        if policy is not None:
            return policy.count
        return int(self._max_receives.get(name, MAX_RECEIVES))

    def setting(self, name: str, count: int) -> str:
        """Return the setting that says so, in words."""
        if name in self._max_receives:
            return f'max_receives={count}'
        # Celery's own queue and the platform's are in no mapping.
        options = f"{{'max_receives': {{{name!r}: {count}}}}}"
        return f'broker_transport_options={options} (CELERY_BROKER_TRANSPORT_OPTIONS)'

    def probe(self) -> None:
        """Ask SQS for one of our queues: a connection must not seem good when SQS is away."""
        for name in list(self._max_receives)[:1]:
            try:
                self.find(name)
            except ClientError as error:
                if not is_denied(error):
                    raise

    def find(self, name: str) -> str | None:
        """Return the URL of a queue by its SQS name; None when SQS has no such queue.

        Raises what boto3 raises when SQS does not answer or does not let us ask.
        """
        known: dict[str, str] = self.channel._queue_cache
        if name not in known:
            try:
                known[name] = self.channel.sqs().get_queue_url(QueueName=name)['QueueUrl']
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
        return known[name]

    def create(
        self, name: str, attributes: dict[str, str], make: Callable[[str, dict[str, str]], Any]
    ) -> Any:
        """Make a queue, and before it its dead-letter queue; return what ``make`` returns.

        Arguments:
            name: the queue's name on SQS.
            attributes: as for CreateQueue.
            make: kombu's way to make a queue.

        Raises `RedriveError` when queues must not be made, or the dead-letter queue cannot be.
        """
        if self.channel.predefined_queues:
            return make(name, attributes)  # which refuses it
        if not self._may_create:
            raise RedriveError(self.missing(name))
        policy = {} if self.is_managed_elsewhere else self._policy_of_new_queue(name)
        try:
            return make(name, attributes | policy)
        except ClientError as error:
            url = self.find(name) if exists_already(error) else None
            if url is None:
                raise
            return {'QueueUrl': url}  # another process was faster

    def ensure(self, queue: str) -> None:
        """Have a queue that is there send its dead letters where they belong; log what changes.

        What SQS refuses is a warning: a queue without its policy is better than no worker.
        """
        if not self.creates or self.is_managed_elsewhere:
            return
        name = self.channel.canonical_queue_name(queue)
        try:
            self._mend(name, self.channel._new_queue(queue))
        except (ClientError, BotoCoreError, RedriveError) as error:
            if not self._is_news(error):
                return
            logger.warning(
                'the redrive policy is not ensured: queue=%s expected=%s error=%s; allow '
                'sqs:GetQueueUrl, CreateQueue, GetQueueAttributes and SetQueueAttributes on the '
                'queue and on its dead-letter queue, or set the policy yourself',
                name,
                self.expected(name),
                error,
            )

    def tolerate(self, error: ClientError) -> None:
        """Warn, once an operation, that SQS denies it; raise any other error again."""
        if not is_denied(error):
            raise error
        if self._is_news(error):
            operation = error.operation_name
            logger.warning(
                'SQS denies %s, so redrive policies go unverified: allow sqs:%s: %s',
                operation,
                operation,
                error,
            )

    def read(self, name: str, url: str) -> tuple[str, Policy | None]:
        """Return a queue's ARN and its policy."""
        answer = self.client(name).get_queue_attributes(
            QueueUrl=url, AttributeNames=['QueueArn', 'RedrivePolicy']
        )
        attributes = answer.get('Attributes', {})
        return attributes.get('QueueArn', ''), Policy.parsed(attributes.get('RedrivePolicy'))

    def client(self, name: str) -> Any:
        """Return the boto3 client for a queue by its SQS name."""
        return self.channel.sqs(queue=name if self.channel.predefined_queues else None)

    def expected(self, name: str) -> str:
        """Return the policy that a queue should have, in words."""
        return f'maxReceiveCount {self.max_receives(name)} to {dead_letter_name(name)}'

    def missing(self, name: str) -> str:
        """Return what to tell whoever needs a queue that is not there."""
        return (
            f'queue {name!r} does not exist on SQS, or may not be seen: expected it with '
            f'{self.expected(name)}: make both (aws sqs create-queue), or have them made with '
            "'create_queues': True in broker_transport_options"
        )

    def _is_news(self, error: Exception) -> bool:
        """Return False for what SQS has denied before: it is said once, and not for each queue."""
        if not is_denied(error):
            return True
        operation = str(getattr(error, 'operation_name', ''))
        is_news = operation not in self._denied
        self._denied.add(operation)
        return is_news

    def _policy_of_new_queue(self, name: str) -> dict[str, str]:
        try:
            url = self._dead_letter_queue(name)
        except ClientError as error:
            raise RedriveError(
                f'queue {name!r} cannot be made, since its dead-letter queue '
                f'{dead_letter_name(name)!r} cannot: {error}: allow sqs:GetQueueUrl and '
                'sqs:CreateQueue on it, or make both yourself'
            ) from error
        try:
            arn, _ = self.read(dead_letter_name(name), url)
        except ClientError as error:
            self.tolerate(error)
            return {}
        return Policy(arn, self.max_receives(name)).attributes

    def _dead_letter_queue(self, name: str) -> str:
        """Return the URL of a queue's dead-letter queue, which is made if it is missing."""
        dead = dead_letter_name(name)
        # Known or not: it may have been deleted since.
        self.channel._queue_cache.pop(dead, None)
        url = self.find(dead)
        if url is not None:
            return url
        attributes = {k: v for k, v in self._creation.items() if k not in NOT_FOR_DEAD_LETTERS}
        attributes['MessageRetentionPeriod'] = str(RETENTION)
        if dead.endswith(FIFO_SUFFIX):
            attributes['FifoQueue'] = 'true'
        tags = self.channel.transport_options.get('queue_tags')
        more = {'tags': tags} if tags else {}
        try:
            made = self.client(dead).create_queue(QueueName=dead, Attributes=attributes, **more)
        except ClientError as error:
            url = self.find(dead) if exists_already(error) else None
            if url is None:
                raise
            return url
        return str(made['QueueUrl'])

    def _mend(self, name: str, url: str) -> None:
        arn, found = self.read(name, url)
        expected = Policy(arn_beside(arn, dead_letter_name(name)), self.max_receives(name))
        self._dead_letter_queue(name)
        if found == expected:
            return
        self.client(name).set_queue_attributes(QueueUrl=url, Attributes=expected.attributes)
        if found is None:
            logger.info('redrive policy set: queue=%s policy=%s', name, expected)
        else:
            logger.warning(
                'redrive policy changed: queue=%s old=%s new=%s; the count is set by %s',
                name,
                found,
                expected,
                self.setting(name, expected.count),
            )
