"""Message group and deduplication id of a message on FIFO queues."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

__all__ = ['deduplication_id', 'group_id']

#: SQS takes up to 128 letters, digits and punctuation marks of ASCII as either.
LEGAL = re.compile(r'[!-~]{1,128}')
#: The group of messages that call no task, as in kombu.
NO_TASK = 'default'


def group_id(message: dict[str, Any], copy: bool) -> str:
    """Return the group, within which SQS keeps the order.

    It is the sender's ``MessageGroupId``, if given. By default it is the task's name on a work
    queue, for one order of all its calls, and the task's id on a queue that gets a copy, so that
    copies of different tasks do not wait for one another.

    Arguments:
        message: as kombu gives it to a transport.
        copy: for a queue that gets a copy, such as the platform queue.
    """
    given = message['properties'].get('MessageGroupId')
    if given:
        return str(given)
    headers = message['headers']
    return _legal((_task_id(message) if copy else headers.get('task')) or NO_TASK)


def deduplication_id(message: dict[str, Any]) -> str:
    """Return the id of a message; for five minutes SQS takes no second one with the same.

    It is the sender's ``MessageDeduplicationId``, if given. By default it is made of the task's id,
    its number of retries, and a digest of the call. So a request that is sent again, and a task
    sent again by a worker that ran its parent twice, arrive once, while other messages with the
    same task id arrive too: a retry, the task that replaces another, the body of a chord that
    replaces a task, or one id used for two calls. To repeat the same call with the same id on
    purpose within five minutes, give a ``MessageDeduplicationId``.

    The digest leaves out the headers, and with them the ETA: a worker that runs a task twice, and
    retries it twice, has computed two times.

    Arguments:
        message: as kombu gives it to a transport; its body encoded.
    """
    given = message['properties'].get('MessageDeduplicationId')
    if given:
        return str(given)
    task_id = _task_id(message)
    if not task_id:
        return str(uuid.uuid4())
    headers = message['headers']
    nesting = headers.get('replaced_task_nesting') or 0
    call = f'{headers.get("task")} {nesting} {message["body"]}'
    digest = hashlib.sha256(call.encode('utf-8', 'surrogatepass')).hexdigest()[:16]
    return _legal(f'{task_id}:{headers.get("retries") or 0}:{digest}')


def _task_id(message: dict[str, Any]) -> str | None:
    # Task protocol 1 has no headers.
    found = message['headers'].get('id') or message['properties'].get('correlation_id')
    return str(found) if found else None


def _legal(text: str) -> str:
    text = str(text)
    if LEGAL.fullmatch(text):
        return text
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()
