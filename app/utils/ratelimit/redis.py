"""Limits that are counted in Redis, asked by threads."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from limits.storage import Storage, storage_from_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.utils.ratelimit.limiter import Fault, Grant, LimiterError, OnError, OnGrant
from app.utils.ratelimit.threads import Threads
from app.utils.ratelimit.windows import Windows
from be_queue.redact import redact

__all__ = ['Redis', 'storage']

#: Of the places that `limits` knows, those that workers share and that take no connection to make.
SCHEMES = ('redis', 'rediss', 'redis+unix')


def storage(url: str, timeout: float) -> Storage:
    """Return what counts in Redis; does not connect yet.

    Arguments:
        url: such as ``redis://host:6379/0``.
        timeout: seconds for each request.

    Raises ValueError for a URL that cannot be used; its text shows no part of it.
    """
    _check(url)
    options: dict[str, Any] = {
        'socket_timeout': timeout,
        'socket_connect_timeout': timeout,
        # Trying again is up to whoever asks: he has a policy for it.
        'retry': Retry(NoBackoff(), 0),
    }
    try:
        made = cast(Any, storage_from_string(url, **options))
        # Does not connect, and is where options that Redis does not know come to light.
        made.get_connection().connection_pool.make_connection()
    except Exception as error:  # noqa: BLE001  (of two libraries, for whatever is in a URL)
        raise ValueError(f'its options give a {type(error).__name__}') from None
    return cast(Storage, made)


def _check(url: str) -> None:
    # Their own messages would show what they take for a port, which may be half of a password.
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


class Redis:
    """The limit of one queue.

    Arguments:
        windows: count in Redis.
        threads: where Redis is asked.
    """

    def __init__(self, windows: Windows, threads: Threads) -> None:
        self._windows = windows
        self._threads = threads
        #: The last window in which this worker was granted something, and how much.
        self._had = (0, 0)

    def ask(self, count: int, on_grant: OnGrant, on_error: OnError) -> None:
        """See `Limiter`."""
        windows = self._windows
        window = windows.current()
        had = self._had[1] if self._had[0] == window else 0
        # What this worker has had itself, Redis need not be asked for.
        left = windows.amount - had
        if not left:
            on_grant(windows.none(window))
            return

        def granted(grant: Grant) -> None:
            had = self._had[1] if self._had[0] == window else 0
            self._had = window, had + grant.permits
            on_grant(grant)

        def failed(error: Exception) -> None:
            on_error(_as_limiter_error(error))

        self._threads.run(lambda: windows.acquire(min(count, left)), granted, failed)


def _as_limiter_error(error: Exception) -> LimiterError:
    if isinstance(error, LimiterError):
        return error
    text = str(redact(f'{type(error).__name__}: {error}'))
    # The library takes a wrong password for a broken connection.
    if isinstance(error, redis.AuthenticationError):
        return LimiterError(Fault.REFUSED, text)
    if isinstance(error, (TimeoutError, redis.TimeoutError)):
        return LimiterError(Fault.TIMEOUT, text)
    if isinstance(error, (OSError, redis.ConnectionError)):
        return LimiterError(Fault.UNREACHABLE, text)
    return LimiterError(Fault.REFUSED, text)
