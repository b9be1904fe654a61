"""Makes log lines of errors that nobody catches: they are reported as the log is."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

__all__ = ['capture']

logger = logging.getLogger('app.uncaught')


def capture() -> None:
    """Have this process log what ends it, or one of its threads."""
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical('an error that nobody caught', exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    # Critical: nobody starts a thread of the process again, and the consumer reports nothing less.
    logger.critical(
        'a thread ended with an error',
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        extra={'thread_name': args.thread.name if args.thread else ''},
    )
