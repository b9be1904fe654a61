"""Limits that are counted in Redis, asked by threads."""

from __future__ import annotations

from typing import Any, cast

import redis
from limits.storage import Storage, storage_from_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.utils.ratelimit.limiter import Fault, Grant, LimiterError, OnError, OnGrant
from app.utils.ratelimit.threads import Threads
from app.utils.ratelimit.windows import Windows
from be_queue.redact import redact

__all__ = ['Redis', 'storage']


def storage(url: str, timeout: float) -> Storage:
    """Return what counts in Redis; does not connect yet.

    Arguments:
        url: one that `limits` takes, such as ``redis://host:6379/0``.
        timeout: seconds for each request.

    Raises ValueError, or an error of `limits`, for a URL that cannot be used.
    """
    options: dict[str, Any] = {
        'socket_timeout': timeout,
        'socket_connect_timeout': timeout,
        # Trying again is up to whoever asks: he has a policy for it.
        'retry': Retry(NoBackoff(), 0),
    }
    return cast(Storage, storage_from_string(url, **options))


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
        window, _ = windows.current()
        had = self._had[1] if self._had[0] == window else 0
        # What this worker has had itself, Redis need not be asked for.
        count = min(count, windows.amount - had)
        if not count:
            on_grant(windows.none())
            return

        def granted(grant: Grant) -> None:
            had = self._had[1] if self._had[0] == window else 0
            self._had = window, had + grant.permits
            on_grant(grant)

        def failed(error: Exception) -> None:
            on_error(_as_limiter_error(error))

        self._threads.run(lambda: windows.acquire(count), granted, failed)


def _as_limiter_error(error: Exception) -> LimiterError:
    text = str(redact(f'{type(error).__name__}: {error}'))
    if isinstance(error, (TimeoutError, redis.TimeoutError)):
        return LimiterError(Fault.TIMEOUT, text)
    if isinstance(error, (OSError, redis.ConnectionError)):
        return LimiterError(Fault.UNREACHABLE, text)
    return LimiterError(Fault.REFUSED, text)
