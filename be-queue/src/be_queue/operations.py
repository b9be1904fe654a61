"""Operations on queues and tasks: depths, differences from the mapping, purge, retry.

The command ``be-queue`` and a dashboard act through these functions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import kombu
from botocore.exceptions import ClientError
from celery import Celery, states
from celery.result import AsyncResult

from be_queue.dead_letter_queue import DeadLetterQueue, OperationError
from be_queue.errors import BeQueueError
from be_queue.naming import dead_letter_name
from be_queue.outage import CHECK_RESULT_DB, brief
from be_queue.transport.redrive_policy import Policy, name_of, url_beside
from be_queue.transport.sqs_errors import is_denied, is_missing

__all__ = ['Depth', 'ManagedQueue', 'find_queue', 'find_result', 'queues', 'retry', 'revoke']

#: A person waits for the answer: short time-outs in seconds, and two tries.
CLIENT_CONFIG: dict[str, Any] = {
    'connect_timeout': 2,
    'read_timeout': 5,
    'retries': {'mode': 'standard', 'total_max_attempts': 2},
}
VISIBLE = 'ApproximateNumberOfMessages'
IN_FLIGHT = 'ApproximateNumberOfMessagesNotVisible'
DELAYED = 'ApproximateNumberOfMessagesDelayed'


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


def find_result(app: Celery, task_id: str) -> AsyncResult[Any]:
    """Return what is stored of a task. Raises `OperationError` when it cannot be read."""
    found = AsyncResult(task_id, app=app)
    app.backend.always_retry = False
    try:
        state = found.state
    except BeQueueError:
        raise
    except Exception as error:  # each backend has exceptions of its own
        raise OperationError(f'{brief(error)}: check {CHECK_RESULT_DB}') from error
    if state == states.PENDING:
        raise OperationError(
            f'task {task_id} has no result: it waits, its result has expired, or there is none'
        )
    return found


def retry(app: Celery, task_id: str) -> str:
    """Send a task that failed once more; return its new id.

    Raises `OperationError` when it has not failed or its arguments are not stored.
    """
    found = find_result(app, task_id)
    if found.state not in states.EXCEPTION_STATES or found.state == states.RETRY:
        raise OperationError(f'task {task_id} has not failed: its state is {found.state}')
    if found.name is None:
        raise OperationError(
            f'task {task_id}: its name and arguments are not stored: set result_extended; those of '
            'a revoked task come with its message'
        )
    return str(app.send_task(found.name, found.args, found.kwargs, parent_id=task_id).id)


def revoke(app: Celery, task_id: str) -> None:
    """Have workers skip a task that waits, for a worker or for its retry.

    Raises `OperationError` when it has begun or is over, or workers could not know. They do not
    know of a task with ``ignore_result`` either: nothing is stored of it.
    """
    conf, backend = app.conf, app.backend
    if not getattr(backend, 'can_revoke', False):
        raise OperationError('revoke needs results in PostgreSQL or SQLite: set RESULT_DB_HOST')
    if conf.task_ignore_result or not conf.task_track_started:
        raise OperationError(
            'revoke needs the start of tasks among the results: set task_track_started, and unset '
            'task_ignore_result'
        )
    try:
        is_revoked = backend.revoke(task_id)
    except Exception as error:  # the driver's
        raise OperationError(f'{brief(error)}: check {CHECK_RESULT_DB}') from error
    if not is_revoked and (state := find_result(app, task_id).state) != states.REVOKED:
        raise OperationError(f'task {task_id} does not wait: its state is {state}')


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
        #: Workers consume it.
        self.is_consumed: bool = getattr(queue, 'consumed', True)
        #: It gets copies of messages, for the monitor.
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

        A queue that the app only sends to is left to its worker.
        """
        if not self.is_consumed and not self.gets_copies:
            return []
        lines: list[str] = self._channel.differences(self.app_name)
        return lines

    def clock_skew(self) -> float:
        """Return the seconds by which this machine's clock is ahead of SQS'."""
        try:
            answer = self._client.get_queue_url(QueueName=self.name)
        except ClientError as error:
            if not is_missing(error):
                raise
            answer = error.response
        date = answer['ResponseMetadata']['HTTPHeaders']['date']
        return time.time() - parsedate_to_datetime(date).timestamp()

    def denied(self, *, receives: bool) -> list[str]:
        """Return the actions on the queue that SQS refuses to these credentials.

        Each request is one that moves no message. AWS does not say that it looks at the rights
        before it finds that out: an action that is not returned may be refused all the same.

        Arguments:
            receives: whether this side receives and deletes messages too.
        """
        handle = {'ReceiptHandle': 'be-queue doctor'}  # of no message
        requests: dict[str, tuple[Any, dict[str, Any]]] = {
            'SendMessage': (self._client.send_message_batch, {'Entries': []})
        }
        if receives:
            requests |= {
                'DeleteMessage': (self._client.delete_message, handle),
                'ChangeMessageVisibility': (
                    self._client.change_message_visibility,
                    {**handle, 'VisibilityTimeout': 0},
                ),
            }
            if self._is_aws:  # other servers take 0 for a number of messages
                none = {'MaxNumberOfMessages': 0}
                requests['ReceiveMessage'] = (self._client.receive_message, none)
        return [name for name, (ask, given) in requests.items() if self._is_denied(ask, given)]

    def _is_denied(self, ask: Any, given: dict[str, Any]) -> bool:
        try:
            ask(QueueUrl=self._url, **given)
        except ClientError as error:
            return is_denied(error)
        return False

    @property
    def _is_aws(self) -> bool:
        return '.amazonaws.' in self._client.meta.endpoint_url

    def purge(self) -> None:
        """Delete all messages of the queue, those in flight too.

        SQS takes up to 60 seconds, and no second purge within them.
        """
        self._client.purge_queue(QueueUrl=self._url)

    def dead_letter_queue(self) -> DeadLetterQueue:
        """Return the queue's dead-letter queue. Raises `OperationError` when there is none."""
        attributes = self._attributes(self._url) or {}
        url = self._dead_letter_url_beside(self._url, attributes)
        if self._attributes(url) is None:
            raise OperationError(f'queue {self.name} has no dead-letter queue')
        return DeadLetterQueue(self._client, self.name, url, self._url)

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
