"""A queue's dead letters: read them, send them back to their queue, delete them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from be_queue.errors import BeQueueError
from be_queue.naming import FIFO_SUFFIX
from be_queue.redact import redact_repr
from be_queue.transport.dead_letters import MESSAGE_ID, REASON, SOURCE
from be_queue.transport.messages import copy_of, envelope_of
from be_queue.transport.requests import BATCH_SIZE
from be_queue.transport.sqs_errors import code_of

__all__ = ['DeadLetter', 'DeadLetterQueue', 'OperationError']

#: Seconds for which dead letters that are read are hidden from other readers, unless released.
HIDDEN_SECONDS = 60
#: Codes of servers that cannot move messages by themselves.
CANNOT_MOVE = (
    'InvalidAction',
    'UnsupportedOperation',
    'AWS.SimpleQueueService.UnsupportedOperation',
)
#: Headers with Celery's representations of the arguments.
ARGUMENTS = ('argsrepr', 'kwargsrepr')
#: Seconds between two looks at how far SQS has moved messages.
MOVE_INTERVAL = 1.0


class OperationError(BeQueueError):
    """An operation cannot be done; the message names the queue or task, and the fix."""


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue.

    Arguments:
        message_id: SQS's id of the message.
        task, task_id: of its headers; '' when the message is no task.
        args: Celery's representation of its positional and keyword arguments, secrets masked.
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


class DeadLetterQueue:
    """The dead-letter queue of a queue. The methods raise what boto3 raises, and `OperationError`.

    Arguments:
        client: a boto3 client of SQS.
        name: the name of the queue that the letters were sent to.
        url, source_url: of the dead-letter queue, and of that queue.
    """

    def __init__(self, client: Any, name: str, url: str, source_url: str) -> None:
        self._client = client
        self._name = name
        self._url = url
        self._source_url = source_url

    def peek(self, count: int) -> list[DeadLetter]:
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

        SQS moves them where it can; a move of its own that runs already is followed. Elsewhere, and
        when ``ids`` are given, each is sent to the queue and then deleted from the dead-letter
        queue: when that is interrupted no message is lost, and up to ten are there twice. Run it
        again for the others.

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
        yield moved
        for batch in self._chosen(ids):
            entries = [_redriven(message, self._source_url) for message in batch]
            answer = self._client.send_message_batch(QueueUrl=self._source_url, Entries=entries)
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
        """Delete all dead letters, as `be_queue.operations.ManagedQueue.purge` does."""
        self._client.purge_queue(QueueUrl=self._url)

    def _attribute(self, url: str, name: str) -> str:
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return str(answer['Attributes'][name])

    def _received(self, count: int) -> Iterator[list[dict[str, Any]]]:
        """Yield batches of up to ``count`` dead letters; they are hidden afterwards."""
        while count > 0:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(BATCH_SIZE, count),
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
        count = int(self._attribute(self._url, 'ApproximateNumberOfMessages'))
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
        for start in range(0, len(messages), BATCH_SIZE):
            self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=_entries(messages[start : start + BATCH_SIZE], VisibilityTimeout=0),
            )

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=_entries(messages))
        self._check('deleted', answer)

    def _check(self, done: str, answer: dict[str, Any]) -> None:
        for failed in answer.get('Failed', ()):
            raise OperationError(
                f'a dead letter of {self._name} could not be {done}: {failed.get("Message")}; no '
                'message is lost: run it again'
            )

    def _moved_by_sqs(self) -> Iterator[int]:
        source, destination = (
            self._attribute(u, 'QueueArn') for u in (self._url, self._source_url)
        )
        # Perhaps another run started it: SQS moves the messages of a queue once at a time.
        if self._latest_move(source).get('Status') != 'RUNNING':
            self._client.start_message_move_task(SourceArn=source, DestinationArn=destination)
        while True:
            move = self._latest_move(source)
            yield move.get('ApproximateNumberOfMessagesMoved', 0)
            status = move.get('Status')
            if status == 'COMPLETED':
                return
            if status != 'RUNNING':
                why = move.get('FailureReason') or status
                raise OperationError(f'SQS stopped moving messages: {why}; run it again')
            time.sleep(MOVE_INTERVAL)

    def _latest_move(self, arn: str) -> dict[str, Any]:
        answer = self._client.list_message_move_tasks(SourceArn=arn, MaxResults=1)
        moves: list[dict[str, Any]] = answer.get('Results', [])
        return moves[0] if moves else {}


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
        headers = envelope_of(body)['headers']
    except (ValueError, KeyError):
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
        args=' '.join(redact_repr(str(headers.get(name, ''))) for name in ARGUMENTS).strip(),
        reason=reason.get('StringValue', ''),
        sent_at=datetime.fromtimestamp(int(system['SentTimestamp']) / 1000, timezone.utc),
        receives=int(system['ApproximateReceiveCount']),
        body=message['Body'],
    )
