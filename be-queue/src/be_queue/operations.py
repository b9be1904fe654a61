"""What an operator does with queues: look at depths and dead letters, redrive, delete, purge.

The command ``be-queue`` and a dashboard act through these functions.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import kombu
from botocore.exceptions import ClientError
from celery import Celery

from be_queue.errors import BeQueueError
from be_queue.naming import FIFO_SUFFIX, dead_letter_name
from be_queue.transport.dead_letters import MESSAGE_ID, REASON, SOURCE
from be_queue.transport.messages import copy_of
from be_queue.transport.redrive_policy import Policy, name_of, url_beside
from be_queue.transport.sqs_errors import code_of, is_denied, is_missing

__all__ = ['DeadLetter', 'Depth', 'ManagedQueue', 'OperationError', 'find_queue', 'queues']

#: Seconds for which dead letters that are read are hidden from other readers, unless released.
HIDDEN_SECONDS = 60
#: Messages of a batch, the most that SQS takes.
BATCH = 10
#: Codes of servers that cannot move messages by themselves.
CANNOT_MOVE = (
    'InvalidAction',
    'UnsupportedOperation',
    'AWS.SimpleQueueService.UnsupportedOperation',
)
#: Seconds between two looks at how far SQS has moved messages.
MOVE_INTERVAL = 1.0
#: Somebody waits for the answer: seconds, and two tries.
CLIENT_CONFIG: dict[str, Any] = {
    'connect_timeout': 2,
    'read_timeout': 5,
    'retries': {'mode': 'standard', 'total_max_attempts': 2},
}
VISIBLE = 'ApproximateNumberOfMessages'
IN_FLIGHT = 'ApproximateNumberOfMessagesNotVisible'
DELAYED = 'ApproximateNumberOfMessagesDelayed'


class OperationError(BeQueueError):
    """An operation cannot be done; the message names the queue or task, and the fix."""


@dataclass(frozen=True)
class Depth:
    """Messages in a queue, as SQS estimates.

    Arguments:
        queue: its name on SQS.
        visible: wait to be received.
        in_flight: received, and neither deleted nor visible again.
        delayed: not to be received yet.
        dead_letters: visible in its dead-letter queue; None when it has none, or `denied`.
        asked_at: when SQS was asked, by the monotonic clock.
        denied: SQS' error when these credentials may not read the dead-letter queue.
    """

    queue: str
    visible: int
    in_flight: int
    delayed: int
    dead_letters: int | None
    asked_at: float = field(default_factory=time.monotonic)
    denied: ClientError | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue.

    Arguments:
        message_id: SQS's id of the message.
        task, task_id: of its headers; '' when the message is no task.
        args: Celery's representation of its positional and keyword arguments.
        reason: why a worker moved it; '' when SQS did, after too many receives.
        sent_at: when it was sent, or moved by a worker.
        receives: how often it was received, this time included.
        body: as it is on SQS.
    """

    message_id: str
    task: str
    task_id: str
    args: str
    reason: str
    sent_at: datetime
    receives: int
    body: str


def queues(app: Celery) -> list[ManagedQueue]:
    """Return the queues that an app declares, over a connection of their own; none is created."""
    # The plain transport: a worker's own limits rates and counts metrics.
    transport = 'be_queue.transport:Transport'
    given = app.conf.broker_transport_options.get('client-config') or {}
    options = {'create_queues': False, 'client-config': given | CLIENT_CONFIG}
    channel = app.connection_for_read(transport=transport, transport_options=options).channel()
    return sorted(
        (ManagedQueue(channel, queue) for queue in app.amqp.queues.values()),
        key=lambda queue: queue.name,
    )


def find_queue(app: Celery, name: str) -> ManagedQueue:
    """Return the queue with a name on SQS, or the only one whose name ends in ``-{name}``.

    Raises `OperationError` unless there is one.
    """
    known = queues(app)
    found = [queue for queue in known if queue.name == name]
    found = found or [queue for queue in known if queue.name.endswith(f'-{name}')]
    if len(found) != 1:
        names = ', '.join(queue.name for queue in known)
        raise OperationError(f'{name!r} must be one of the queues {names}')
    return found[0]


class ManagedQueue:
    """A queue and its dead-letter queue.

    The methods raise `OperationError` when one of them is missing, and what boto3 raises.

    Arguments:
        channel: a `be_queue.transport.Channel`.
        queue: the queue as the app declares it.
    """

    def __init__(self, channel: Any, queue: kombu.Queue) -> None:
        #: Its name on SQS.
        self.name: str = channel.canonical_queue_name(queue.name)
        #: Its name in the app.
        self.app_name: str = queue.name
        #: Whether it gets copies of messages, for the monitor.
        self.gets_copies = queue.name in channel.copies_to
        self._queue = queue
        self._channel = channel

    def depth(self) -> Depth | None:
        """Return how many messages there are; None when SQS has no such queue."""
        asked_at, url = time.monotonic(), self._find_url()
        found = self._attributes(url)
        if url is None or found is None:
            self._channel.queue_urls.pop(self.name, None)  # it may be created again
            return None
        dead = denied = None
        try:
            dead = self._attributes(self._dead_letter_url_beside(url, found))
        except ClientError as error:
            if not is_denied(error):
                raise
            denied = error
        return Depth(
            self.name,
            int(found[VISIBLE]),
            int(found[IN_FLIGHT]),
            int(found[DELAYED]),
            None if dead is None else int(dead[VISIBLE]),
            asked_at,
            denied,
        )

    def differences(self) -> list[str]:
        """Return a line, with the fix, for each thing that is not on SQS as the app expects it.

        What a queue that the app only sends to must be is for its worker to say.
        """
        if not getattr(self._queue, 'consumed', True) and not self.gets_copies:
            return []
        lines: list[str] = self._channel.differences(self.app_name)
        return lines

    def clock_skew(self) -> float:
        """Return the seconds by which this machine's clock is ahead of SQS'."""
        answer = self._client.list_queues(MaxResults=1)
        date = answer['ResponseMetadata']['HTTPHeaders']['date']
        return time.time() - parsedate_to_datetime(date).timestamp()

    def dead_letters(self, count: int) -> list[DeadLetter]:
        """Return up to ``count`` dead letters; they stay where they are.

        SQS shows a message only by hiding it from others for a moment: another look at the same
        time may miss it.
        """
        found: list[dict[str, Any]] = []
        try:
            for batch in self._received(count):
                found += batch
        finally:
            self._release(found)
        return [_dead_letter(message) for message in found]

    def redrive(self, ids: Collection[str] = ()) -> Iterator[int]:
        """Move dead letters back to the queue; yield how many were moved, from time to time.

        SQS moves them where it can. Elsewhere, and when ``ids`` are given, each is sent to the
        queue and then deleted from the dead-letter queue: when that is interrupted no message is
        lost, and up to ten are there twice. Run it again for the others.

        Arguments:
            ids: ids of messages or tasks; by default, all that are there now.
        """
        if not ids:
            try:
                yield from self._moved_by_sqs()
            except ClientError as error:
                if code_of(error) not in CANNOT_MOVE:
                    raise
            else:
                return
        moved = 0
        for batch in self._chosen(ids):
            entries = [_redriven(message, self._url) for message in batch]
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            self._check('sent', answer)
            self._delete(batch)
            moved += len(batch)
            yield moved

    def delete(self, ids: Collection[str]) -> int:
        """Delete dead letters with these ids of messages or tasks; return how many there were."""
        deleted = 0
        for batch in self._chosen(ids):
            self._delete(batch)
            deleted += len(batch)
        return deleted

    def purge(self) -> None:
        """Delete all messages of the queue, those in flight too.

        SQS takes up to 60 seconds, and no second purge within them.
        """
        self._client.purge_queue(QueueUrl=self._url)

    def purge_dead_letters(self) -> None:
        """Delete all messages of the dead-letter queue, as `purge` does."""
        self._client.purge_queue(QueueUrl=self._dead_letter_url)

    @cached_property
    def _client(self) -> Any:
        return self._channel.blocking_sqs(self.name)

    @cached_property
    def _predefined(self) -> dict[str, Any]:
        entry: dict[str, Any] = self._channel.predefined_queues.get(self.name, {})
        return entry

    def _find_url(self) -> str | None:
        url: str | None = self._predefined.get('url') or self._channel.redrive.find(self.name)
        return url

    def _dead_letter_url_beside(self, url: str, attributes: Mapping[str, str]) -> str:
        """Return where the transport, too, looks for dead letters; '' for none."""
        given: str | None = self._predefined.get('dead_letter_url')
        if given is not None:
            return given
        policy = Policy.parsed(attributes.get('RedrivePolicy'))
        return url_beside(url, name_of(policy.target) if policy else dead_letter_name(self.name))

    @cached_property
    def _url(self) -> str:
        url = self._find_url()
        if url is None:
            raise OperationError(f'queue {self.name} does not exist on SQS')
        return url

    @cached_property
    def _dead_letter_url(self) -> str:
        attributes = self._attributes(self._url) or {}
        url = self._dead_letter_url_beside(self._url, attributes)
        if self._attributes(url) is None:
            raise OperationError(f'queue {self.name} has no dead-letter queue')
        return url

    def _attributes(self, url: str | None) -> dict[str, str] | None:
        """Return a queue's attributes; None when it does not exist."""
        if not url:
            return None
        try:
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        attributes: dict[str, str] = answer['Attributes']
        return attributes

    def _received(self, count: int) -> Iterator[list[dict[str, Any]]]:
        """Yield batches of up to ``count`` dead letters; they are hidden afterwards."""
        while count > 0:
            answer = self._client.receive_message(
                QueueUrl=self._dead_letter_url,
                MaxNumberOfMessages=min(BATCH, count),
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=1,
                MessageAttributeNames=['All'],
                MessageSystemAttributeNames=['All'],
            )
            messages = answer.get('Messages', [])
            if not messages:
                return
            yield messages
            count -= len(messages)

    def _chosen(self, ids: Collection[str]) -> Iterator[list[dict[str, Any]]]:
        """Yield batches of the dead letters with these ids, or of all that are there now."""
        # One that is sent back may become a dead letter again at once.
        count = int((self._attributes(self._dead_letter_url) or {})[VISIBLE])
        others: list[dict[str, Any]] = []
        try:
            for batch in self._received(count):
                chosen = [m for m in batch if not ids or _ids(m).intersection(ids)]
                others += [message for message in batch if message not in chosen]
                if chosen:
                    yield chosen
        finally:
            self._release(others)

    def _release(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), BATCH):
            self._client.change_message_visibility_batch(
                QueueUrl=self._dead_letter_url,
                Entries=_entries(messages[start : start + BATCH], VisibilityTimeout=0),
            )

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        answer = self._client.delete_message_batch(
            QueueUrl=self._dead_letter_url, Entries=_entries(messages)
        )
        self._check('deleted', answer)

    def _check(self, done: str, answer: dict[str, Any]) -> None:
        for failed in answer.get('Failed', ()):
            raise OperationError(
                f'a dead letter of {self.name} could not be {done}: {failed.get("Message")}; no '
                'message is lost: run it again'
            )

    def _moved_by_sqs(self) -> Iterator[int]:
        arns = [
            (self._attributes(url) or {})['QueueArn'] for url in (self._dead_letter_url, self._url)
        ]
        self._client.start_message_move_task(SourceArn=arns[0], DestinationArn=arns[1])
        while True:
            answer = self._client.list_message_move_tasks(SourceArn=arns[0], MaxResults=1)
            (task,) = answer['Results']
            yield task.get('ApproximateNumberOfMessagesMoved', 0)
            if task['Status'] == 'FAILED':
                raise OperationError(f'SQS stopped moving messages: {task["FailureReason"]}')
            if task['Status'] != 'RUNNING':
                return
            time.sleep(MOVE_INTERVAL)


def _entries(messages: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [
        {'Id': str(number), 'ReceiptHandle': message['ReceiptHandle'], **more}
        for number, message in enumerate(messages)
    ]


def _redriven(message: dict[str, Any], url: str) -> dict[str, Any]:
    entry = copy_of(message) | {'Id': message['MessageId']}
    attributes = entry.get('MessageAttributes', {})
    kept = {k: v for k, v in attributes.items() if k not in (REASON, SOURCE, MESSAGE_ID)}
    entry.pop('MessageAttributes', None)
    if kept:
        entry['MessageAttributes'] = kept
    if url.endswith(FIFO_SUFFIX):
        entry.setdefault('MessageGroupId', 'default')
        entry['MessageDeduplicationId'] = message['MessageId']
    return entry


def _headers(body: str) -> dict[str, Any]:
    """Return the headers of a task's message; none of another's."""
    try:
        # kombu's default, unlike ours, encodes the whole envelope.
        text = body if body.lstrip().startswith('{') else base64.b64decode(body, validate=True)
        headers = json.loads(text)['headers']
    except (ValueError, KeyError, TypeError):
        return {}
    return headers if isinstance(headers, dict) else {}


def _ids(message: dict[str, Any]) -> set[str]:
    return {message['MessageId'], str(_headers(message['Body']).get('id'))}


def _dead_letter(message: dict[str, Any]) -> DeadLetter:
    headers, system = _headers(message['Body']), message['Attributes']
    reason = message.get('MessageAttributes', {}).get(REASON, {})
    return DeadLetter(
        message_id=message['MessageId'],
        task=str(headers.get('task') or ''),
        task_id=str(headers.get('id') or ''),
        args=f'{headers.get("argsrepr", "")} {headers.get("kwargsrepr", "")}'.strip(),
        reason=reason.get('StringValue', ''),
        sent_at=datetime.fromtimestamp(int(system['SentTimestamp']) / 1000, timezone.utc),
        receives=int(system['ApproximateReceiveCount']),
        body=message['Body'],
    )
