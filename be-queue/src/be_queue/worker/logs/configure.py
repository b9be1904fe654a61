"""One handler on the root logger, in the format and with the levels of the settings."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from be_queue.naming import LOCAL_ENV
from be_queue.worker import redaction
from be_queue.worker.logs.context import ContextFilter
from be_queue.worker.logs.formatters import ConsoleFormatter, JsonFormatter
from be_queue.worker.logs.handler import LineHandler
from be_queue.worker.logs.stream import log_prints

if TYPE_CHECKING:  # the settings' own modules log
    from be_queue.worker.settings import Settings

__all__ = ['cannot_start', 'setup']

logger = logging.getLogger('app')
uncaught_logger = logging.getLogger('app.uncaught')

STDERR = 2
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
#: Libraries that say more at DEBUG and INFO than an operator wants, and at DEBUG things such as
#: the headers by which a request is allowed: these levels at least, until LOG_LEVELS names them.
QUIET = {
    'boto3': logging.WARNING,
    'botocore': logging.WARNING,
    's3transfer': logging.WARNING,
    'urllib3': logging.WARNING,
    'sqlalchemy': logging.WARNING,
    'jaeger_tracing': logging.WARNING,
    'opentelemetry': logging.WARNING,
    # Debug lines of the pool's own plumbing.
    'multiprocessing': logging.ERROR,
}


def setup(
    config: Settings, process: str, level: int | str | None = None, file: str | None = None
) -> None:
    """Have this process, and those it forks, log as the settings say.

    Arguments:
        config: the settings.
        process: the name of this process in its lines; a pool's processes have their own.
        level: in the place of ``config.log_level``.
        file: the path to append to; standard error without one.
    """
    redaction.learn(config)
    descriptor = os.open(file, APPEND, 0o644) if file else STDERR
    as_json = _is_json(config.log_format, config.env, descriptor)
    if as_json:
        formatter = JsonFormatter(config.service_name, config.env, config.release)
        _install(formatter, process, descriptor)
    else:
        _install(ConsoleFormatter(_has_colours(descriptor)), process, descriptor)
    _set_levels(level or config.log_level, config.log_levels)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    if as_json:
        log_prints()


def cannot_start(error: BaseException) -> None:
    """Say why on standard error, a line for each fault; before `setup` too, or in its place."""
    env = os.environ.get('ENV') or LOCAL_ENV
    as_json = _is_json(os.environ.get('LOG_FORMAT', '').lower(), env, STDERR)
    if as_json and not any(isinstance(h, LineHandler) for h in logging.getLogger().handlers):
        service, release = (os.environ.get(n) or 'unknown' for n in ('SERVICE_NAME', 'RELEASE'))
        _install(JsonFormatter(service, env, release), 'server', STDERR)
    for line in str(error).splitlines():
        if as_json:
            logger.critical('cannot start: %s', line)
        else:
            print(redaction.redacted(f'cannot start: {line}'), file=sys.stderr)  # noqa: T201


def _is_json(chosen: str, env: str, descriptor: int) -> bool:
    # docker-compose has ENV=local and no terminal, and people look at what it shows.
    return chosen == 'json' or (
        chosen != 'console' and env != LOCAL_ENV and not os.isatty(descriptor)
    )


def _has_colours(descriptor: int) -> bool:
    """Return what https://no-color.org and https://force-color.org say."""
    if os.environ.get('NO_COLOR'):
        return False
    if os.environ.get('FORCE_COLOR'):
        return True
    return os.isatty(descriptor) and os.environ.get('TERM') != 'dumb'


def _install(formatter: logging.Formatter, process: str, descriptor: int) -> None:
    handler = LineHandler(descriptor)
    handler.setFormatter(formatter)
    handler.addFilter(ContextFilter(process))
    logging.getLogger().handlers = [handler]


def _set_levels(level: int | str, levels: dict[str, str]) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(root.level, least))
    for name, chosen in levels.items():
        logging.getLogger(name).setLevel(chosen)


def _log_uncaught(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    message: str = 'an error that nobody caught',
    **fields: str,
) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        uncaught_logger.critical(message, exc_info=(kind, error, trace), extra=fields)


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    # Critical: nobody starts a thread of the process again, and the consumer reports nothing less.
    error, name = args.exc_value or args.exc_type(), args.thread.name if args.thread else ''
    message = 'a thread ended with an error'
    _log_uncaught(args.exc_type, error, args.exc_traceback, message, thread_name=name)
