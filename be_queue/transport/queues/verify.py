"""Compares queues that somebody else makes with what they must be."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from be_queue.naming import dead_letter_name
from be_queue.transport.clients.sqs_errors import is_denied, is_missing
from be_queue.transport.queues.policy import Policy, arn_beside, name_of
from be_queue.transport.queues.redrive import Redrive

__all__ = ['NO_DEAD_LETTERS', 'differences']

#: As ``dead_letter_url`` of a predefined queue: it has no dead-letter queue, on purpose.
NO_DEAD_LETTERS = ''


def differences(redrive: Redrive, queue: str) -> list[str]:
    """Return a line for each thing that is not on SQS as it must be, with what mends it.

    An entry of ``predefined_queues`` may name a ``dead_letter_url``. Without one, whatever its
    redrive policy names is right.

    Arguments:
        queue: the queue's name in kombu.

    Raises what boto3 raises when SQS does not answer.
    """
    channel = redrive.channel
    name = channel.canonical_queue_name(queue)
    entry: dict[str, Any] = channel.predefined_queues.get(name, {})
    if channel.predefined_queues and not entry:
        return [f'queue {name!r} is not in predefined_queues: add it, with its url']
    try:
        url = entry.get('url') or redrive.find(name)
        if url is None:
            return [redrive.missing(name)]
        if redrive.is_managed_elsewhere or entry.get('dead_letter_url') == NO_DEAD_LETTERS:
            return []
        return _compared(redrive, name, url, entry)
    except ClientError as error:
        if is_missing(error) or (is_denied(error) and error.operation_name == 'GetQueueUrl'):
            return [redrive.missing(name)]
        redrive.tolerate(error)
        return []


def _compared(redrive: Redrive, name: str, url: str, entry: dict[str, Any]) -> list[str]:
    arn, found = redrive.read(name, url)
    expected = _expected(redrive, name, arn, found, entry)
    mend = expected.command(url)
    if found is None:
        without = ", or say 'dead_letter_url': '' to do without" if entry else ''
        return [f'queue {name!r} has no redrive policy, expected {expected}: {mend}{without}']
    lines = []
    if found.target != expected.target:
        lines.append(
            f'queue {name!r}: its dead-letter queue is {found.target}, expected '
            f'{expected.target}: {mend}'
        )
    if found.count != expected.count:
        lines.append(
            f'queue {name!r}: maxReceiveCount is {found.count}, expected {expected.count}: {mend}, '
            f'or expect {redrive.setting(name, found.count)}'
        )
    if not lines and not entry and _is_gone(redrive, name_of(expected.target)):
        lines.append(
            f'queue {name!r}: its dead-letter queue {name_of(expected.target)!r} does not exist: '
            'make it (aws sqs create-queue)'
        )
    return lines


def _expected(
    redrive: Redrive, name: str, arn: str, found: Policy | None, entry: dict[str, Any]
) -> Policy:
    count = redrive.max_receives(name)
    if entry.get('dead_letter_url'):
        return Policy(arn_beside(arn, name_of(entry['dead_letter_url'])), count)
    if entry and found:
        return Policy(found.target, count)
    return Policy(arn_beside(arn, dead_letter_name(name)), count)


def _is_gone(redrive: Redrive, name: str) -> bool:
    try:
        return redrive.find(name) is None
    except ClientError as error:
        if is_denied(error):  # whoever may not see it may not say that it is gone
            return False
        raise
