"""Where limits are counted in Redis."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import urlsplit

from limits.storage import Storage, storage_from_string

__all__ = ['redis_storage']

#: The storages of `limits` that workers share and that connect when first used.
SCHEMES = ('redis', 'rediss', 'redis+unix')


def redis_storage(url: str, timeout: float) -> Storage:
    """Return the storage of limits in Redis; does not connect yet.

    Arguments:
        url: such as ``redis://host:6379/0``.
        timeout: seconds for each request.

    Raises ValueError for a URL that cannot be used; its text shows no part of it.
    """
    # Here: redis takes as long to import as Celery, and few workers have limits in it.
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # The libraries' own messages show what they take for a port, which may be half of a password.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError('host, port or password cannot be told apart') from None
    if parts.scheme not in SCHEMES or '://' not in url:
        raise ValueError(f'it must begin with one of {", ".join(f"{s}://" for s in SCHEMES)}')
    if '@' in f'{parts.path}{parts.query}{parts.fragment}':
        raise ValueError("'/', '?' and '#' of a password must be written as %2F, %3F and %23")
    if port == 0 or not (parts.scheme == 'redis+unix' or re.fullmatch(r'/?\d*', parts.path)):
        raise ValueError('after the host come a port and the number of a database')
    options: dict[str, Any] = {
        'socket_timeout': timeout,
        'socket_connect_timeout': timeout,
        # The permits of a queue try again, by a policy.
        'retry': Retry(NoBackoff(), 0),
    }
    try:
        made = cast(Any, storage_from_string(url, **options))
        # Raises for options that Redis does not know, without a connection.
        made.get_connection().connection_pool.make_connection()
    except Exception as error:  # noqa: BLE001  (of two libraries, for whatever is in a URL)
        raise ValueError(f'its options give a {type(error).__name__}') from None
    return cast(Storage, made)
