"""Finds the dead-letter queue behind a queue, when the first message is to go there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from be_queue.naming import dead_letter_name
from be_queue.transport.clients.sqs_errors import is_denied, is_missing
from be_queue.transport.queues.policy import Policy, name_of

__all__ = ['TTL', 'Target', 'find_target']

#: Seconds for which it is remembered that there is no dead-letter queue.
TTL = 300.0

Ask = Callable[..., object]


@dataclass(frozen=True)
class Target:
    """Where the dead letters of a queue go.

    Arguments:
        url: the dead-letter queue's URL; '' when there is none, or none that can be asked for.
        has_policy: SQS moves what was received too often by itself.
        is_certain: SQS has answered; else it is asked again for the next message.
    """

    url: str
    has_policy: bool = False
    is_certain: bool = True
    _found_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def holds(self) -> bool:
        """Whether it may be used again."""
        if self.url:
            return True
        return self.is_certain and time.monotonic() - self._found_at < TTL


def find_target(
    redrive: Any, queue: str, url: str, ask: Ask, found: Callable[[Target], object]
) -> None:
    """Call ``found`` with the target of a queue, once it is known.

    A predefined queue's entry says it, else the queue's redrive policy, else its name.

    Arguments:
        redrive: the channel's `Redrive`.
        queue: the queue's name in kombu.
        url: its URL on SQS.
        ask: sends a request: operation, parameters, and what to call with the answer or the error.
    """
    name = redrive.channel.canonical_queue_name(queue)
    given = redrive.channel.predefined_queues.get(name, {}).get('dead_letter_url')
    if given is not None:
        found(Target(given, has_policy=bool(given)))
        return

    def ask_url(has_policy: bool, **params: str) -> None:
        ask(
            'GetQueueUrl',
            params,
            lambda answer: found(Target(answer['QueueUrl'], has_policy)),
            lambda error: found(Target('', has_policy, is_missing(error) or is_denied(error))),
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
            # There may be one: nothing must be deleted that SQS would move.
            ask_url(True, QueueName=dead_letter_name(name_of(url)))
        else:
            found(Target('', has_policy=True, is_certain=False))

    params = {'QueueUrl': url, 'AttributeNames': ['RedrivePolicy']}
    ask('GetQueueAttributes', params, policy_known, policy_unknown)
