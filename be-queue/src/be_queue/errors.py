"""The errors that be_queue raises: every message names the fault, the value and the fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


# Give the fields of these by position: results keep errors pickled, as their `args`.
@dataclass(eq=False, repr=False)
class UnmappedTaskError(BeQueueError, LookupError):
    """No queue carries a task of this name; it was not sent."""

    task: str
    #: A name like it that the mapping has.
    hint: str | None

    def __str__(self) -> str:
        meant = f'did you mean {self.hint!r}? If not, ' if self.hint else ''
        return (
            f'task {self.task!r} has no queue in the mapping: {meant}map it, name a queue in the '
            'call, or set ALLOW_UNMAPPED_TASKS=true'
        )


class ChordTimeoutError(BeQueueError, MaxRetriesExceededError):
    """A chord's header has not finished within CHORD_TIMEOUT, and its body fails."""

    def __init__(self, message: str, task_args: Sequence[Any] = (), **_: Any) -> None:
        if task_args:  # those of `celery.chord_unlock`: Celery raises this error
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


@dataclass(eq=False, repr=False)
class MessageTooLargeError(BeQueueError, ValueError):
    """A task's message is larger than its queue takes; it was not sent."""

    task: str
    task_id: str
    #: The queue's name in kombu.
    queue: str
    #: Bytes of the message, as SQS counts them: body and message attributes.
    size: int
    #: Bytes that the queue takes, its MaximumMessageSize.
    limit: int

    def __str__(self) -> str:
        return (
            f'task {self.task!r} {self.task_id}: its message has {self.size} bytes and queue '
            f'{self.queue!r} takes {self.limit}: store the data elsewhere, such as in S3, and '
            'pass a reference to it'
        )


@dataclass(eq=False, repr=False)
class NotSentError(BeQueueError):
    """A task's message did not reach all of its queues."""

    task: str
    task_id: str
    #: The queues that have the message, by their names in kombu.
    sent: Sequence[str]
    #: Those that have not, each with the reason. After a time-out it may be there too.
    failed: Mapping[str, str]

    def __str__(self) -> str:
        task = f'task {self.task!r} {self.task_id}'
        reasons = '; '.join(f'{queue}: {reason}' for queue, reason in self.failed.items())
        if not self.sent:
            return f'{task}: not sent to {reasons}: fix the cause and send it again'
        have = ', '.join(self.sent)
        return f'{task}: sent to {have}, where it stays, but not to {reasons}: fix the cause'
