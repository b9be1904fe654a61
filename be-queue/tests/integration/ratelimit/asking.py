"""Limiters of this process, asked side by side."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse

from app.config.configuration import Config
from be_queue.testing.waiting import wait_until
from be_queue.worker.ratelimit.limiter import Grant, Limiter, LimiterError
from be_queue.worker.ratelimit.plan import Limit, limiters
from tests.support.ratelimit_service import DOMAIN, RateLimitService

__all__ = [
    'PATIENT', 'error_of', 'in_memory', 'in_redis', 'of_service', 'outlast', 'take_all', 'together',
    'unused_name',
]  # fmt: skip

#: Seconds for which limiters wait, where no test is about that.
PATIENT = 10.0


def unused_name() -> str:
    """Return a name that no other test's limit has."""
    return f'limit-{uuid.uuid4().hex[:10]}'


def of_service(service: RateLimitService, name: str = 'mail', timeout: float = PATIENT) -> Limiter:
    """Return a worker's limiter that asks the service."""
    url = f'http://127.0.0.1:{service.port}'
    config = Config(ratelimit_host=url, ratelimit_domain=DOMAIN, ratelimit_timeout=timeout)
    return limiters(config, [Limit('q', name)])['q']


def in_redis(url: str, text: str, name: str, timeout: float = PATIENT) -> Limiter:
    """Return a worker's limiter that counts in Redis."""
    config = Config(ratelimit_redis_url=url, ratelimit_timeout=timeout)
    return limiters(config, [Limit('q', name, parse(text))])['q']


def in_memory(*texts: str) -> list[Limiter]:
    """Return limiters of one worker that count in its memory, under the same name."""
    limits = [Limit(f'q{n}', 'mail', parse(text)) for n, text in enumerate(texts)]
    return [*limiters(Config(), limits).values()]


def outlast(grant: Grant) -> None:
    """Wait until there may be more."""
    until = time.monotonic() + grant.retry_in
    wait_until(lambda: time.monotonic() >= until, 'time goes by')


def together(asked: Sequence[Limiter], count: int) -> list[Grant]:
    """Ask all at the same time; raise the first error."""
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda limiter: limiter.acquire(count), asked))


def error_of(limiter: Limiter, count: int = 1) -> LimiterError:
    """Ask for permits, and return the error that is the answer."""
    with pytest.raises(LimiterError) as caught:
        limiter.acquire(count)
    return caught.value


def take_all(asked: Sequence[Limiter], count: int) -> int:
    """Ask side by side until all are told to wait; return the permits granted."""
    permits = 0
    while asked:
        grants = together(asked, count)
        permits += sum(grant.permits for grant in grants)
        asked = [one for one, grant in zip(asked, grants, strict=True) if not grant.retry_in]
    return permits
