"""Names of queues on SQS, and what SQS allows in them (CreateQueue in the SQS API reference)."""

from __future__ import annotations

import getpass
import re

from be_queue.errors import MappingError

__all__ = [
    'FIFO_SUFFIX',
    'LOCAL_ENV',
    'check_queue_name',
    'check_sqs_name',
    'dead_letter_name',
    'prefix',
    'sqs_name',
]

LOCAL_ENV = 'local'
FIFO_SUFFIX = '.fifo'
#: Characters in a queue name, the ``.fifo`` suffix included.
MAX_NAME_LENGTH = 80

_LEGAL = re.compile(r'[A-Za-z0-9_-]+')


def prefix(env: str, username: str | None = None) -> str:
    """Return the first part of every queue name of an environment.

    Locally that is ``{username}-{env}``, so that developers who share an AWS account do not
    take each other's messages; elsewhere it is ``env``. ``username`` defaults to the login name;
    characters that SQS does not allow become ``-``.

    Raises `MappingError` when ``env`` or the user name is empty, or ``env`` is illegal.
    """
    if not isinstance(env, str) or not _LEGAL.fullmatch(env):
        raise MappingError(
            f"env={env!r}: an environment's name is part of every queue name, so it must be one or "
            "more letters, digits, '-' or '_', for example 'prod'"
        )
    if env != LOCAL_ENV:
        return env
    try:
        login = getpass.getuser() if username is None else username
    except (KeyError, OSError) as error:  # a container's user id without a passwd entry
        raise MappingError(
            'this process has no login name, and local queue names start with it: set USERNAME'
        ) from error
    name = re.sub(r'[^A-Za-z0-9_-]', '-', login)
    if not name.strip('-'):
        raise MappingError(
            f'username={username!r}: local queue names start with the user name, so it must hold '
            'a letter or a digit: set USERNAME'
        )
    return f'{name}-{env}'


def sqs_name(prefix: str, queue_name: str) -> str:
    """Return the name on SQS: ``{prefix}-{queue_name}``."""
    return f'{prefix}-{queue_name}'


def dead_letter_name(full_name: str) -> str:
    """Return the name of the dead-letter queue behind ``full_name``."""
    return f'err-{full_name}'


def check_queue_name(queue_name: str, entry: str) -> None:
    """Raise `MappingError`, naming ``entry``, unless SQS could take the short name."""
    if not isinstance(queue_name, str) or not queue_name:
        raise MappingError(f'{entry}: queue_name must be a non-empty text')
    if not _LEGAL.fullmatch(queue_name.removesuffix(FIFO_SUFFIX)):
        raise MappingError(
            f'{entry}: queue_name {queue_name!r} may hold letters, digits, '
            "'-' and '_' only, and may end in '.fifo'"
        )


def check_sqs_name(full_name: str, entry: str) -> None:
    """Raise `MappingError`, naming ``entry``, unless queue and dead-letter queue fit SQS."""
    if not _LEGAL.fullmatch(full_name.removesuffix(FIFO_SUFFIX)):
        raise MappingError(
            f'{entry}: on SQS it would be {full_name!r}, and SQS takes letters, digits, '
            "'-' and '_' only, and '.fifo' at the end: fix the name, or the prefix before it"
        )
    longest = dead_letter_name(full_name)
    if len(longest) > MAX_NAME_LENGTH:
        raise MappingError(
            f'{entry}: its dead-letter queue would be {longest!r}, {len(longest)} characters; SQS '
            f'takes {MAX_NAME_LENGTH}: shorten queue_name by {len(longest) - MAX_NAME_LENGTH}'
        )
