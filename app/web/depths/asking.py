"""Asks the broker about one queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from celery import Celery
from kombu.exceptions import ChannelError

from be_queue.naming import dead_letter_name
from be_queue.transport import Channel
from be_queue.transport.redrive_policy import Policy, name_of
from be_queue.transport.sqs_errors import code_of, is_denied, is_missing

__all__ = ['Answer', 'Asker', 'Depth', 'QueueError']

VISIBLE = 'ApproximateNumberOfMessages'
IN_FLIGHT = 'ApproximateNumberOfMessagesNotVisible'
DELAYED = 'ApproximateNumberOfMessagesDelayed'
#: Seconds, in place of the transport's own: the next round is another try.
HASTE: dict[str, Any] = {
    'connect_timeout': 2,
    'read_timeout': 3,
    'retries': {'mode': 'standard', 'total_max_attempts': 2},
}


class QueueError(Exception):
    """The broker answers, but not about this queue: what to mend."""


@dataclass(frozen=True)
class Depth:
    """Messages in a queue; None for what is not known.

    Arguments:
        visible: wait to be received.
        in_flight: received, and neither deleted nor visible again.
        delayed: not to be received yet.
        dead_letters: visible in its dead-letter queue.
    """

    visible: int
    in_flight: int | None = None
    delayed: int | None = None
    dead_letters: int | None = None


@dataclass(frozen=True)
class Answer:
    """A queue's depth, and why its dead letters are not known though it has a place for them."""

    depth: Depth
    fault: str | None = None


class Asker:
    """Asks for depths over a connection of its own, which is made when it is needed.

    Arguments:
        celery_app: leads to the broker.
    """

    def __init__(self, celery_app: Celery) -> None:
        self._app = celery_app
        self._channel: Any = None

    def ask(self, queue: str) -> Answer:
        """Return the depth of a queue.

        Raises `QueueError` when the next queue may do better, else what the transport raises.
        """
        # Kept for the next time only when it works.
        channel, self._channel = self._channel, None
        if channel is None:
            options = self._app.conf.broker_transport_options
            config = (options.get('client-config') or {}) | HASTE
            connection = self._app.connection_for_read(transport_options={'client-config': config})
            channel = connection.channel()
        try:
            answer = _on_sqs(channel, queue) if isinstance(channel, Channel) else None
            answer = answer or _elsewhere(channel, queue)
        except QueueError:
            self._channel = channel
            raise
        self._channel = channel
        return answer


def _elsewhere(channel: Any, queue: str) -> Answer:
    try:
        return Answer(Depth(channel.queue_declare(queue=queue, passive=True).message_count))
    except ChannelError as error:
        raise QueueError(f'{queue}: {error}') from None


def _on_sqs(channel: Channel, queue: str) -> Answer:
    name = channel.canonical_queue_name(queue)
    with _faults_of(name):
        url = channel.redrive.find(name)
    if url is None:
        raise QueueError(f'queue {name} does not exist on SQS')
    names = [VISIBLE, IN_FLIGHT, DELAYED, 'RedrivePolicy']
    try:
        found = _attributes(channel, name, queue, url, names)
    except QueueError:
        if not channel.predefined_queues:
            channel._queue_cache.pop(name, None)  # it may have been made anew
        raise
    count, fault = None, None
    try:
        count = _dead_letters(channel, queue, url, found.get('RedrivePolicy'))
    except QueueError as error:
        fault = str(error)
    depth = Depth(int(found[VISIBLE]), int(found[IN_FLIGHT]), int(found[DELAYED]), count)
    return Answer(depth, fault)


def _dead_letters(channel: Channel, queue: str, url: str, policy: str | None) -> int | None:
    """Return the messages in a queue's dead-letter queue; None when it has none."""
    name = channel.canonical_queue_name(queue)
    # In the same order as the transport when it looks for a place for a dead letter.
    given = channel.predefined_queues.get(name, {}).get('dead_letter_url')
    target = Policy.parsed(policy)
    if given is not None:
        dead_url = given
    else:
        dead = name_of(target.target) if target else dead_letter_name(name)
        # SQS has a queue and its dead-letter queue in one account and region.
        dead_url = f'{url.rpartition("/")[0]}/{dead}'
    if not dead_url:
        return None
    try:
        found = _attributes(channel, name_of(dead_url), queue, dead_url, [VISIBLE])
    except QueueError as fault:
        if target is None and given is None and is_missing(_cause(fault)):
            return None
        raise
    return int(found[VISIBLE])


def _attributes(
    channel: Channel, name: str, queue: str, url: str, names: list[str]
) -> dict[str, str]:
    """Ask about the queue of a URL, ``name``, with the login for ``queue``."""
    with _faults_of(name):
        client = channel.blocking_sqs(queue)
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    found: dict[str, str] = answer['Attributes']
    return found


@contextmanager
def _faults_of(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if is_missing(error):
            raise QueueError(f'queue {name} does not exist on SQS') from error
        if is_denied(error):
            operation = error.operation_name
            raise QueueError(
                f'SQS denies {operation} ({code_of(error)}): allow sqs:{operation} on {name}'
            ) from error
        raise


def _cause(fault: QueueError) -> Exception:
    cause = fault.__cause__
    return cause if isinstance(cause, Exception) else fault
