"""Finds the dead-letter queue behind a queue, when a message is to go there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from be_queue.naming import dead_letter_name
from be_queue.transport.redrive_policy import Policy, name_of
from be_queue.transport.sqs_errors import is_denied, is_missing

__all__ = ['DeadLetterQueue', 'find_dead_letter_queue']


class DeadLetterQueue(NamedTuple):
    """Where the dead letters of a queue go.

    Arguments:
        url: its URL; '' when there is none, or none that can be asked for.
        has_policy: SQS moves messages there by itself that were received too often.
        is_certain: SQS has answered.
    """

    url: str
    has_policy: bool
    is_certain: bool = True


def find_dead_letter_queue(
    channel: Any, queue: str, url: str, found: Callable[[DeadLetterQueue], object]
) -> None:
    """Call ``found`` with the dead-letter queue, once it is known.

    It is named by the ``dead_letter_url`` of a predefined queue, else by the queue's redrive
    policy, else by the queue's name.

    Arguments:
        channel: the `Channel`.
        queue: the queue's name in kombu.
        url: its URL on SQS.
    """
    name = channel.canonical_queue_name(queue)
    given = channel.predefined_queues.get(name, {}).get('dead_letter_url')
    if given is not None:
        found(DeadLetterQueue(given, has_policy=bool(given)))
        return

    def ask_url(has_policy: bool, **params: str) -> None:
        channel.requests.call(
            queue,
            'GetQueueUrl',
            params,
            lambda answer: found(DeadLetterQueue(answer['QueueUrl'], has_policy)),
            lambda error: found(
                DeadLetterQueue('', has_policy, is_missing(error) or is_denied(error))
            ),
        )

    def policy_known(answer: dict[str, Any]) -> None:
        policy = Policy.parsed(answer.get('Attributes', {}).get('RedrivePolicy'))
        if policy is None:
            ask_url(False, QueueName=dead_letter_name(name_of(url)))
        else:
            account = policy.target.split(':')[-2]
            ask_url(True, QueueName=name_of(policy.target), QueueOwnerAWSAccountId=account)

    def policy_unknown(error: Exception) -> None:
        if is_denied(error):
            # There may be a policy: nothing must be deleted that SQS would move.
            ask_url(True, QueueName=dead_letter_name(name_of(url)))
        else:
            found(DeadLetterQueue('', has_policy=True, is_certain=False))

    params = {'QueueUrl': url, 'AttributeNames': ['RedrivePolicy']}
    channel.requests.call(queue, 'GetQueueAttributes', params, policy_known, policy_unknown)
