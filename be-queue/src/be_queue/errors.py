"""The errors that be_queue raises: every message names the fault, the value and the fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery.exceptions import MaxRetriesExceededError

__all__ = [
    'BeQueueError',
    'ChordTimeoutError',
    'MappingError',
    'MessageTooLargeError',
    'NoRemoteControlError',
    'NotSentError',
    'SettingError',
    'UnmappedTaskError',
]


class BeQueueError(Exception):
    """Base of every error that be_queue raises on purpose."""


class MappingError(BeQueueError, ValueError):
    """The queue-task mapping breaks a rule: fix the entry that the message names."""


class SettingError(BeQueueError, ValueError):
    """A setting cannot be used: fix the keyword or variable that the message names."""


class UnmappedTaskError(BeQueueError, LookupError):
    """No queue carries a task of this name; it was not sent.

    Arguments:
        task: the task's name.
        hint: a name like it that the mapping has.
    """

    def __init__(self, task: str, hint: str | None) -> None:
        super().__init__(task, hint)
        self.task, self.hint = task, hint

    def __str__(self) -> str:
        meant = f'did you mean {self.hint!r}? If not, ' if self.hint else ''
        return (
            f'task {self.task!r} has no queue in the mapping: {meant}map it, name a queue in the '
            'call, or set ALLOW_UNMAPPED_TASKS=true'
        )


class ChordTimeoutError(BeQueueError, MaxRetriesExceededError):
    """A chord's header has not finished within CHORD_TIMEOUT, and its body fails.

    Arguments:
        message: the text.
        task_args: those of Celery's ``chord_unlock``, which then make the text.
    """

    def __init__(self, message: str, task_args: Sequence[Any] = (), **_: Any) -> None:
        if task_args:
            group_id, body = task_args[:2]
            message = (
                f'the header of chord {group_id} has not finished within CHORD_TIMEOUT: its body '
                f'{body["task"]}[{body["options"].get("task_id")}] fails; look for tasks of the '
                'header that have no result'
            )
        super().__init__(message)


class NoRemoteControlError(BeQueueError):
    """Remote control and events do not exist on SQS, which has no fanout: nothing was sent, and no
    worker would answer; use the worker's dashboard, its metrics and its logs instead."""

    def __init__(self) -> None:
        super().__init__(' '.join(str(self.__doc__).split()))


class MessageTooLargeError(BeQueueError, ValueError):
    """A task's message is larger than its queue takes; it was not sent.

    Arguments:
        task, task_id: the task's name and id.
        queue: the queue's name in kombu.
        size: bytes of the message, as SQS counts them: body and message attributes.
        limit: bytes that the queue takes, its MaximumMessageSize.
    """

    def __init__(self, task: str, task_id: str, queue: str, size: int, limit: int) -> None:
        super().__init__(task, task_id, queue, size, limit)
        self.task, self.task_id, self.queue = task, task_id, queue
        self.size, self.limit = size, limit

    def __str__(self) -> str:
        return (
            f'task {self.task!r} {self.task_id}: its message has {self.size} bytes and queue '
            f'{self.queue!r} takes {self.limit}: store the data elsewhere, such as in S3, and '
            'pass a reference to it'
        )


class NotSentError(BeQueueError):
    """A task's message did not reach all of its queues.

    Arguments:
        task, task_id: the task's name and id.
        sent: the queues that have the message, by their names in kombu.
        failed: those that have not, each with the reason. After a time-out it may be there too.
    """

    def __init__(
        self, task: str, task_id: str, sent: Sequence[str], failed: Mapping[str, str]
    ) -> None:
        super().__init__(task, task_id, sent, failed)
        self.task, self.task_id = task, task_id
        self.sent, self.failed = sent, failed

    def __str__(self) -> str:
        task = f'task {self.task!r} {self.task_id}'
        reasons = '; '.join(f'{queue}: {reason}' for queue, reason in self.failed.items())
        if not self.sent:
            return f'{task}: not sent to {reasons}: fix the cause and send it again'
        have = ', '.join(self.sent)
        return f'{task}: sent to {have}, where it stays, but not to {reasons}: fix the cause'
