"""Logs: the lines of all libraries on standard error, as JSON or for a person."""

from be_queue.worker.logs.configure import cannot_start, setup
from be_queue.worker.logs.context import about

__all__ = ['about', 'cannot_start', 'setup']
