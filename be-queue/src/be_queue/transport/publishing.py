"""Sends a message to all its queues side by side, each in one request.

The message is encoded once. Its text stays text, where kombu encodes base64 in base64; kombu's own
transport reads both.
"""

from __future__ import annotations

import base64
import contextvars
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps

from be_queue.errors import MessageTooLargeError, NotSentError
from be_queue.naming import FIFO_SUFFIX
from be_queue.transport.delays import delay_seconds
from be_queue.transport.messages import attributes_size, deduplication_id, group_id, limit_of
from be_queue.transport.sqs_errors import ERRORS

__all__ = ['SendRequest', 'Task', 'collector', 'publish', 'unreachable']


class Task(NamedTuple):
    """The task that a message calls, as errors name it."""

    name: str
    id: str


@dataclass(frozen=True, eq=False)
class SendRequest:
    """A message for one queue: ``params`` are those of SendMessage, ``size`` is in bytes."""

    task: Task
    queue: str
    url: str
    client: Any
    params: dict[str, Any]
    size: int

    def send(self) -> None:
        """Send it; raises one of `ERRORS`."""
        answer = self.client.send_message(QueueUrl=self.url, **self.params)
        if not answer.get('MessageId'):
            # To boto3, a login page with status 200 is an empty answer.
            raise ConnectionError(
                f'the answer to SendMessage to queue {self.queue!r} has no MessageId, and is not '
                'of SQS: look for a proxy or login page at SQS_ENDPOINT_URL'
            )


#: The `be_queue.transport.batch.Batch` that collects what this thread publishes, if there is one.
collector: contextvars.ContextVar[Any] = contextvars.ContextVar('collector', default=None)

#: Is told of the copies that this process sends, in any thread: ``lost(error)`` when all queues
#: have a message but some that get copies, ``sent(queues)`` when all have it. While it is None, a
#: lost copy is an error to the sender. A worker has one: by the error it would run a task again.
copies: Any = None


def publish(channel: Any, message: dict[str, Any], exchange: str, routing_key: str) -> None:
    """Send a message to every queue that the exchange has for it; return once SQS has it.

    Raises `MessageTooLargeError` before anything is sent; `NotSentError` when only some of the
    queues have it, unless `copies` is told, or when a task has no queue but for copies;
    `OperationalError` when none is known to have it; boto3's `ClientError` when SQS refused it for
    each.
    """
    headers = message['headers']
    task_id = headers.get('id') or message['properties'].get('correlation_id')
    task = Task(str(headers.get('task') or ''), str(task_id or ''))
    queues = channel.queues_for(exchange, routing_key)
    bound = _bound_by_key(channel, queues, exchange, routing_key)
    if 'task' in headers and not bound and channel.copies_to.issuperset(queues):
        place = f'exchange {exchange!r} with routing key {routing_key!r}'
        raise NotSentError(*task, [], {place: 'no queue is bound to it, or only one for copies'})
    if not queues:
        return  # an event: nobody listens
    copied = [queue for queue in queues if bound and queue not in bound]
    requests = _requests(channel, message, task, queues, copied)
    batch = collector.get()
    if batch is not None:
        batch.add(requests)
        return
    try:
        _send(requests)
    except NotSentError as error:
        if copies is None or not error.failed.keys() <= channel.copies_to:
            raise
        copies.lost(error)
    else:
        if copies is not None:
            copies.sent(queues)


def _bound_by_key(channel: Any, queues: list[str], exchange: str, routing_key: str) -> set[str]:
    """Return the queues that are bound by the very routing key: one for copies is by a pattern.

    A task that is sent to the platform queue by its own name or key is meant to go there.
    """
    if not queues or not exchange:
        return set(queues)
    return {queue for key, _, queue in channel.get_table(exchange) if key == routing_key}


def unreachable(error: Exception) -> OperationalError:
    """Return kombu's error for a server that was not reached."""
    # kombu would take boto3's error for a lost connection, connect anew and send all of it again.
    wrapped = OperationalError(str(error))
    wrapped.__cause__ = error
    return wrapped


def _requests(
    channel: Any, message: dict[str, Any], task: Task, queues: list[str], copied: list[str]
) -> list[SendRequest]:
    """Return a request for each queue, those of work queues first."""
    properties = message['properties'].copy()
    attributes = properties.pop('message_attributes', None) or {}
    message = message | {'properties': properties}
    body = dumps(message)  # in ASCII: a byte a character, each of them legal on SQS
    if channel.sqs_base64_encoding:
        body = base64.b64encode(body.encode()).decode()
    size = len(body) + attributes_size(attributes)
    common = {'MessageBody': body} | ({'MessageAttributes': attributes} if attributes else {})
    requests = []
    for queue in sorted(queues, key=copied.__contains__):
        url = channel.url_of(queue)
        client = channel.blocking_sqs(queue)
        limit = limit_of(client, url, size)
        if size > limit:
            raise MessageTooLargeError(*task, queue, size, limit)
        params = common | _params_of_queue(channel, queue, message, queue in copied)
        requests.append(SendRequest(task, queue, url, client, params, size))
    return requests


def _params_of_queue(
    channel: Any, queue: str, message: dict[str, Any], is_copy: bool
) -> dict[str, Any]:
    if queue.endswith(FIFO_SUFFIX):  # which has no delay for single messages
        return {
            'MessageGroupId': group_id(message, is_copy),
            'MessageDeduplicationId': deduplication_id(message),
        }
    params: dict[str, Any] = {}
    properties = message['properties']
    if properties.get('MessageGroupId'):  # SQS is fair between groups
        params['MessageGroupId'] = properties['MessageGroupId']
    delay = channel.delay_of(properties)
    if delay is None and not is_copy:
        delay = delay_seconds(message) or None
    if delay is not None:
        params['DelaySeconds'] = delay
    return params


def _send(requests: list[SendRequest]) -> None:
    """Send them at the same time: the first from this thread, each other from one of its own."""
    failed: dict[str, Exception] = {}

    def send(request: SendRequest, errors: tuple[type[Exception], ...]) -> None:
        try:
            request.send()
        except errors as error:
            failed[request.queue] = error

    first, *others = requests
    threads = []
    for request in others:
        # Not from a pool: it would have to survive forks, and could keep the process from ending.
        thread = threading.Thread(target=send, args=(request, (Exception,)), daemon=True)
        try:
            thread.start()
            threads.append(thread)
        except RuntimeError:  # the interpreter is ending, or the system gives no more
            send(request, ERRORS)
    send(first, ERRORS)
    for thread in threads:
        thread.join()
    if not failed:
        return
    errors = [failed[request.queue] for request in requests if request.queue in failed]
    if len(failed) == len(requests):
        unreached = [error for error in errors if not isinstance(error, ClientError)]
        raise unreachable(unreached[0]) if unreached else errors[0]
    sent = [request.queue for request in requests if request.queue not in failed]
    reasons = {queue: str(error) for queue, error in failed.items()}
    raise NotSentError(*first.task, sent, reasons) from errors[0]
