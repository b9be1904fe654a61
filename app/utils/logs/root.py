"""One handler on the root logger, the levels, and which format it is."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from app import known_secrets
from app.utils.logs import printed, uncaught
from app.utils.logs.console import ConsoleFormatter
from app.utils.logs.json_lines import JsonFormatter
from app.utils.logs.writing import LineHandler, standard_error
from be_queue.naming import LOCAL_ENV

if TYPE_CHECKING:  # settings come from modules that tell us of secrets
    from app.config.configuration import Config

__all__ = ['cannot_start', 'setup']

logger = logging.getLogger('app')

#: Libraries that say more at DEBUG and INFO than an operator wants, and at DEBUG things such as
#: the headers by which a request is allowed: these levels at least, until LOG_LEVELS names them.
QUIET = {
    'boto3': 'WARNING',
    'botocore': 'WARNING',
    's3transfer': 'WARNING',
    'urllib3': 'WARNING',
    'sqlalchemy': 'WARNING',
    'jaeger_tracing': 'WARNING',
    'opentelemetry': 'WARNING',
    # Debug lines of the pool's own plumbing.
    'multiprocessing': 'ERROR',
}


def setup(
    config: Config, process: str, level: int | str | None = None, file: str | None = None
) -> None:
    """Have this process, and those it forks, log as the settings say.

    Arguments:
        config: the settings.
        process: what lines call this process; a pool's processes have names of their own.
        level: in the place of ``config.log_level``.
        file: the path to append to; standard error without one.
    """
    known_secrets.learn(config)
    descriptor = _opened(file) if file else standard_error()
    as_json = _is_json(config.log_format, config.env, descriptor)
    formatter: logging.Formatter
    if as_json:
        formatter = JsonFormatter(process, config.service_name, config.env, config.release)
    else:
        formatter = ConsoleFormatter(process, _has_colours(descriptor))
    _install(formatter, descriptor)
    _set_levels(level or config.log_level, config.logger_levels)
    logging.captureWarnings(True)
    uncaught.capture()
    if as_json:
        printed.capture()


def cannot_start(error: BaseException) -> None:
    """Say why on standard error, a line for each fault; before `setup` too, or in its place."""
    env = os.environ.get('ENV') or LOCAL_ENV
    descriptor = standard_error()
    as_json = _is_json(os.environ.get('LOG_FORMAT', '').lower(), env, descriptor)
    if as_json and not _is_set_up():
        names = ('SERVICE_NAME', 'RELEASE')
        service, release = (os.environ.get(name) or 'unknown' for name in names)
        _install(JsonFormatter('server', service, env, release), descriptor)
    for line in str(error).splitlines():
        if as_json:
            logger.critical('cannot start: %s', line)
        else:
            print(f'cannot start: {line}', file=sys.stderr)  # noqa: T201


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


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _is_set_up() -> bool:
    return any(isinstance(handler, LineHandler) for handler in logging.getLogger().handlers)


def _install(formatter: logging.Formatter, descriptor: int) -> None:
    handler = LineHandler(descriptor)
    handler.setFormatter(formatter)
    logging.getLogger().handlers = [handler]


def _set_levels(level: int | str, levels: dict[str, str]) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(root.level, logging.getLevelName(quiet)))
    for name, chosen in levels.items():
        logging.getLogger(name).setLevel(chosen)
