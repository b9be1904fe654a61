"""The queue-task mapping and the settings that producers and workers of a service share."""

from be_queue.batch import Outcome, send_batch
from be_queue.conf import Config
from be_queue.errors import (
    BeQueueError,
    ChordTimeoutError,
    MappingError,
    MessageTooLargeError,
    NoRemoteControlError,
    NotSentError,
    SettingError,
    UnmappedTaskError,
)
from be_queue.queues import Queue, Queues

__all__ = [
    'BeQueueError',
    'ChordTimeoutError',
    'Config',
    'MappingError',
    'MessageTooLargeError',
    'NoRemoteControlError',
    'NotSentError',
    'Outcome',
    'Queue',
    'Queues',
    'SettingError',
    'UnmappedTaskError',
    'send_batch',
]
