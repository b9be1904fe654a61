"""The dead-letter queue behind each queue: created with it, repaired, or compared.

The transport options say which: ``create_queues`` (True by default) and ``max_receives``, a dict by
SQS name. Without the latter, as in an app without a mapping, a policy that is there is right.
Queues in ``predefined_queues`` are never created or changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from be_queue.errors import BeQueueError
from be_queue.naming import FIFO_SUFFIX, dead_letter_name
from be_queue.queues import MAX_RECEIVES
from be_queue.transport.redrive_policy import Policy, arn_beside, name_of
from be_queue.transport.sqs_errors import ERRORS, exists_already, is_denied, is_missing

__all__ = ['RETENTION_SECONDS', 'Redrive', 'RedriveError']

logger = logging.getLogger(__name__)

#: Seconds that a dead letter is kept, the most that SQS offers: it keeps its age when SQS moves it.
RETENTION_SECONDS = 14 * 24 * 3600
#: The ``sqs-creation-attributes`` that are meant for the work queues alone.
NOT_FOR_DEAD_LETTERS = ('RedrivePolicy', 'RedriveAllowPolicy', 'DelaySeconds')
#: As ``dead_letter_url`` of a predefined queue: it has no dead-letter queue, on purpose.
NO_DEAD_LETTERS = ''

Create = Callable[[str, dict[str, str]], Any]


class RedriveError(BeQueueError):
    """A queue on SQS, or its dead-letter queue, does not exist and cannot be created."""


class Redrive:
    """Creates, repairs and compares the dead-letter queues of a channel's queues.

    ``queue`` is a queue's name in kombu, ``name`` its name on SQS.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        options = channel.transport_options
        self._max_receives: dict[str, int] = options.get('max_receives') or {}
        self._creation: dict[str, Any] = options.get('sqs-creation-attributes') or {}
        #: The user's own policy for all queues.
        self._own_policy = Policy.parsed(self._creation.get('RedrivePolicy'))
        #: As last read or set, by the queue's URL.
        self.policies: dict[str, Policy] = {}
        self._may_create = bool(options.get('create_queues', True))
        self._denied: set[str] = set()

    @property
    def creates(self) -> bool:
        """Whether queues may be created and changed."""
        return self._may_create and not self._channel.predefined_queues

    def max_receives(self, name: str) -> int:
        """Return after how many receives SQS moves a message of a queue."""
        if self._own_policy is not None:
            return self._own_policy.count
        return int(self._max_receives.get(name, MAX_RECEIVES))

    def probe(self) -> None:
        """Ask SQS for one of our queues: raises what boto3 raises when SQS is unavailable."""
        for name in list(self._max_receives)[:1]:
            try:
                self.find(name)
            except ClientError as error:
                if not is_denied(error):
                    raise

    def find(self, name: str) -> str | None:
        """Return the URL of a queue; None when SQS has no such queue. Raises what boto3 raises."""
        known: dict[str, str] = self._channel.queue_urls
        if name not in known:
            try:
                known[name] = self._channel.sqs().get_queue_url(QueueName=name)['QueueUrl']
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
        return known[name]

    def create(self, name: str, attributes: dict[str, str], create: Create) -> Any:
        """Create a queue by kombu's function, and before it its dead-letter queue.

        Raises `RedriveError` when queues must not be created, or the dead-letter queue cannot be.
        """
        if self._channel.predefined_queues:
            return create(name, attributes)  # which refuses it
        if not self._may_create:
            raise RedriveError(self._missing(name))
        policy = {} if self._own_policy is not None else self._policy_of_new_queue(name)
        return self._created(name, lambda: create(name, attributes | policy))

    def ensure(self, queue: str) -> None:
        """Repair the redrive policy of an existing queue; log what changes.

        What SQS refuses is a warning: a queue without its policy is better than no worker.
        """
        if not self.creates or self._own_policy is not None:
            return
        name = self._channel.canonical_queue_name(queue)
        try:
            url = self._channel.url_of(queue)
            arn, found = self._read(name, url)
            if found is not None and not self._max_receives:
                return
            expected = self._expected(name, arn)
            self._dead_letter_queue(name)
            if found == expected:
                return
            self._client(name).set_queue_attributes(QueueUrl=url, Attributes=expected.attributes)
            self.policies[url] = expected
        except (ClientError, BotoCoreError, RedriveError) as error:
            self._warn_once(
                error,
                'the redrive policy is not ensured: queue=%s expected=%s error=%s; allow '
                'sqs:GetQueueUrl, CreateQueue, GetQueueAttributes and SetQueueAttributes on '
                'the queue and on its dead-letter queue, or set the policy yourself',
                *(name, self._expected(name), error),
            )
            return
        if found is None:
            logger.info('redrive policy set: queue=%s policy=%s', name, expected)
        else:
            logger.warning(
                'redrive policy changed: queue=%s old=%s new=%s; the count is set by %s',
                *(name, found, expected, self._setting(name, expected.count)),
            )

    def prepare_to_consume(self, queue: str) -> None:
        """Repair the redrive policy of a queue, or warn of what is wrong with it."""
        if self.creates:
            self.ensure(queue)
            return
        try:
            for line in self.differences(queue):
                logger.warning('%s', line)
        except ERRORS as error:
            logger.warning('queue %r cannot be verified: %s', queue, error)

    def differences(self, queue: str) -> list[str]:
        """Return a line for each thing about a queue that is not as it must be, with the fix.

        An entry of ``predefined_queues`` may name a ``dead_letter_url``. Without one, any target
        of its redrive policy is right. Raises what boto3 raises when SQS does not answer.
        """
        name = self._channel.canonical_queue_name(queue)
        entry: dict[str, Any] = self._channel.predefined_queues.get(name, {})
        if self._channel.predefined_queues and not entry:
            return [f'queue {name!r} is not in predefined_queues: add it, with its url']
        try:
            url = entry.get('url') or self.find(name)
            if url is None:
                return [self._missing(name)]
            if self._own_policy is not None or entry.get('dead_letter_url') == NO_DEAD_LETTERS:
                return []
            return self._compared(name, url, entry)
        except ClientError as error:
            if is_missing(error) or (is_denied(error) and error.operation_name == 'GetQueueUrl'):
                return [self._missing(name)]
            self.tolerate(error)
            return []

    def tolerate(self, error: ClientError) -> None:
        """Warn, once an operation, that SQS denies it; raise any other error again."""
        if not is_denied(error):
            raise error
        operation = error.operation_name
        text = 'SQS denies %s, so redrive policies go unverified: allow sqs:%s: %s'
        self._warn_once(error, text, operation, operation, error)

    def _compared(self, name: str, url: str, entry: dict[str, Any]) -> list[str]:
        arn, found = self._read(name, url)
        expected = self._expected(name, arn)
        if found is not None and not (self._max_receives or entry.get('dead_letter_url')):
            return []
        if entry.get('dead_letter_url'):
            expected = replace(expected, target=arn_beside(arn, name_of(entry['dead_letter_url'])))
        elif entry and found:
            expected = replace(expected, target=found.target)
        if found == expected:
            return []
        line = (
            f'queue {name!r} has {found or "no redrive policy"}, expected {expected}: '
            f'{expected.command(url)}'
        )
        if found is not None and found.count != expected.count:
            line += f', or expect {self._setting(name, found.count)}'
        elif found is None and entry:
            line += ", or say 'dead_letter_url': '' to do without"
        return [line]

    def _policy_of_new_queue(self, name: str) -> dict[str, str]:
        dead = dead_letter_name(name)
        try:
            url = self._dead_letter_queue(name)
        except ClientError as error:
            raise RedriveError(
                f'queue {name!r} cannot be created, since its dead-letter queue '
                f'{dead!r} cannot: {error}: allow sqs:GetQueueUrl and '
                'sqs:CreateQueue on it, or create both yourself'
            ) from error
        try:
            arn, _ = self._read(dead, url)
        except ClientError as error:
            self.tolerate(error)
            return {}
        return Policy(arn, self.max_receives(name)).attributes

    def _dead_letter_queue(self, name: str) -> str:
        """Return the URL of a queue's dead-letter queue, which is created if it is missing."""
        dead = dead_letter_name(name)
        self._channel.queue_urls.pop(dead, None)  # it may have been deleted since
        url = self.find(dead)
        if url is not None:
            return url
        attributes = {k: v for k, v in self._creation.items() if k not in NOT_FOR_DEAD_LETTERS}
        attributes['MessageRetentionPeriod'] = str(RETENTION_SECONDS)
        if dead.endswith(FIFO_SUFFIX):
            attributes['FifoQueue'] = 'true'
        params = {'QueueName': dead, 'Attributes': attributes}
        if tags := self._channel.transport_options.get('queue_tags'):
            params['tags'] = tags
        created = self._created(dead, lambda: self._client(dead).create_queue(**params))
        return str(created['QueueUrl'])

    def _created(self, name: str, create: Callable[[], Any]) -> Any:
        try:
            return create()
        except ClientError as error:
            url = self.find(name) if exists_already(error) else None
            if url is None:
                raise
            return {'QueueUrl': url}  # another process was faster

    def _read(self, name: str, url: str) -> tuple[str, Policy | None]:
        """Return a queue's ARN and its policy."""
        answer = self._client(name).get_queue_attributes(
            QueueUrl=url, AttributeNames=['QueueArn', 'RedrivePolicy']
        )
        attributes = answer.get('Attributes', {})
        policy = Policy.parsed(attributes.get('RedrivePolicy'))
        if policy is not None:
            self.policies[url] = policy
        return attributes.get('QueueArn', ''), policy

    def _client(self, name: str) -> Any:
        return self._channel.sqs(queue=name if self._channel.predefined_queues else None)

    def _expected(self, name: str, arn: str = '') -> Policy:
        """Return the policy of a queue; without its ARN, with the target's name only."""
        dead = dead_letter_name(name)
        return Policy(arn_beside(arn, dead) if arn else dead, self.max_receives(name))

    def _setting(self, name: str, count: int) -> str:
        return f"broker_transport_options={{'max_receives': {{{name!r}: {count}}}}}"

    def _missing(self, name: str) -> str:
        return (
            f'queue {name!r} does not exist on SQS, or may not be seen: expected it with '
            f'{self._expected(name)}: create both (aws sqs create-queue), or have them created '
            "with 'create_queues': True in broker_transport_options"
        )

    def _warn_once(self, error: Exception, text: str, *args: object) -> None:
        """Log a warning; of each operation that SQS denies only one."""
        if is_denied(error):
            operation = str(getattr(error, 'operation_name', ''))
            if operation in self._denied:
                return
            self._denied.add(operation)
        logger.warning(text, *args)
