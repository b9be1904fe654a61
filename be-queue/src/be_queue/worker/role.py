"""Which of our processes this is."""

from enum import Enum

__all__ = ['Role']


class Role(Enum):
    """The purpose of a process."""

    #: The worker's main process: its event loop receives messages and hands them out.
    CONSUMER = 'consumer'
    #: A process of the worker's pool: runs tasks.
    POOL = 'pool'
    #: The web server.
    WEB = 'web'
    #: The platform queue's consumer.
    MONITOR = 'monitor'
    #: Sends scheduled tasks.
    SCHEDULER = 'scheduler'
