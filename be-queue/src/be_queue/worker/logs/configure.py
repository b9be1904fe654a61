"""One handler on the root logger, in the format and with the levels of the settings."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from celery.utils.log import LoggingProxy

from be_queue.naming import LOCAL_ENV
from be_queue.worker import redaction
from be_queue.worker.logs.context import ContextFilter
from be_queue.worker.logs.formatters import ConsoleFormatter, JsonFormatter
from be_queue.worker.soft_time_limit import put_off

if TYPE_CHECKING:  # the settings' own modules log
    from be_queue.worker.settings import Settings

__all__ = ['LineHandler', 'cannot_start', 'setup']

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
        process: the name of this process in its lines; a pool's processes have their own.
        level: in the place of ``config.log_level``.
        file: the path to append to; standard error without one.
    """
    redaction.learn(config)
    descriptor = os.open(file, APPEND, 0o644) if file else STDERR
    if _is_json(config.log_format, config.env, descriptor):
        formatter = JsonFormatter(config.service_name, config.env, config.release)
        _install(formatter, process, descriptor)
        # Where each line must be JSON, so must a print.
        sys.stdout = LogStream(sys.__stdout__, 'stdout', logging.INFO)
        sys.stderr = LogStream(sys.__stderr__, 'stderr', logging.WARNING)
    else:
        _install(ConsoleFormatter(_has_colours(descriptor)), process, descriptor)
    root = logging.getLogger()
    root.setLevel(level or config.log_level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(root.level, least))
    for name, chosen in config.log_levels.items():
        logging.getLogger(name).setLevel(chosen)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


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


class LineHandler(logging.Handler):
    """Writes each line at once and without a buffer, which a fork would copy."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def handle(self, record: logging.LogRecord) -> Any:
        # The soft time limit is an exception, and `emit` catches every one.
        with put_off:
            return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # A lone surrogate, such as of a file name, is no UTF-8.
            line = f'{self._line(record)}\n'.encode(errors='backslashreplace')
            while line:
                line = line[os.write(self._descriptor, line) :]
        except Exception:  # noqa: BLE001, S110  (mostly an OSError: nobody reads any more)
            pass

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  (an object's own __str__ may raise anything)
            # Without the arguments: in the place of this, logging would print them, with secrets.
            record.msg = 'a line of %s:%d cannot be logged: %s'
            record.args = (record.pathname, record.lineno, type(error).__name__)
            return self.format(record)


class LogStream(LoggingProxy):
    """Celery's stream that logs, with a record for each line instead of each write."""

    def __init__(self, real: TextIO | None, name: str, level: int) -> None:
        super().__init__(logging.getLogger(name), level)
        self._real = real
        self._unfinished = threading.local()

    def __getattr__(self, name: str) -> Any:  # such as fileno, for a program that a task starts
        return getattr(self._real, name)

    def write(self, text: str) -> int:
        *lines, self._unfinished.line = f'{self._line()}{text}'.split('\n')
        for line in lines:
            super().write(line)
        return len(text)

    def flush(self) -> None:
        line, self._unfinished.line = self._line(), ''
        super().write(line)

    def _line(self) -> str:
        return getattr(self._unfinished, 'line', '')


def _is_json(chosen: str, env: str, descriptor: int) -> bool:
    # docker-compose has ENV=local and no terminal, and people look at what it shows.
    return chosen == 'json' or (
        chosen != 'console' and env != LOCAL_ENV and not os.isatty(descriptor)
    )


def _has_colours(descriptor: int) -> bool:
    """Return what https://no-color.org and https://force-color.org say."""
    if os.environ.get('NO_COLOR'):
        return False
    is_terminal = os.isatty(descriptor) and os.environ.get('TERM') != 'dumb'
    return is_terminal or bool(os.environ.get('FORCE_COLOR'))


def _install(formatter: logging.Formatter, process: str, descriptor: int) -> None:
    handler = LineHandler(descriptor)
    handler.setFormatter(formatter)
    handler.addFilter(ContextFilter(process))
    logging.getLogger().handlers = [handler]


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        uncaught_logger.critical('an error that nobody caught', exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value and not isinstance(args.exc_value, SystemExit):
        # Critical: nobody starts the thread again, and the consumer reports nothing less.
        uncaught_logger.critical(
            'a thread ended with an error',
            exc_info=args.exc_value,
            extra={'thread_name': args.thread.name if args.thread else ''},
        )
