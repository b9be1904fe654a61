"""Errors that keep a process of the worker from starting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from be_queue import BeQueueError

__all__ = ['NOT_LOADED', 'StartError', 'in_one_line']

#: The status after which gunicorn ends. After another, it starts its process again and again.
NOT_LOADED = 4


class StartError(Exception):
    """The server cannot start: the message is one line that says why and what to do."""


@contextmanager
def in_one_line(status: int = 1) -> Iterator[None]:
    """End the process with a line for each fault of the settings, the mapping or the tasks.

    For the modules that programs start with: Celery and gunicorn show a traceback of any error.

    Arguments:
        status: the exit status.
    """
    try:
        yield
    except (BeQueueError, StartError) as error:
        from be_queue.worker.logs import cannot_start  # not before it is needed

        cannot_start(error)
        raise SystemExit(status) from None
