"""Limiters of this process, asked side by side, and a clock that tests move."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from limits import parse

from app.config.configuration import Config
from be_queue.worker.ratelimit import Limit, Limiter, LimiterError, limiters
from tests.support.ratelimit_service import DOMAIN, RateLimitService, running_service
from tests.support.redis import RedisServer, running_redis

#: Seconds for which limiters wait, where no test is about that.
PATIENT = 10.0


class Clock:
    """The time of day of this process, limiters and service included: it stands still."""

    def __init__(self) -> None:
        self.now = time.time()

    def next_window(self, window: float) -> None:
        """Go to where the next window of so many seconds has begun."""
        self.now = (self.now // window + 1) * window


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, 'time', lambda: clock.now)
    return clock


@pytest.fixture
def service() -> Iterator[RateLimitService]:
    """A rate-limit service without limits."""
    with running_service() as server:
        yield server


@pytest.fixture(scope='session')
def redis() -> Iterator[RedisServer]:
    """A Redis for the whole session: give each test limits of its own."""
    with running_redis() as server:
        yield server


@pytest.fixture
def name() -> str:
    """A name that no other test's limit has."""
    return f'limit-{uuid.uuid4().hex[:10]}'


def of_service(service: RateLimitService, timeout: float = PATIENT) -> Limiter:
    """Return a worker's limiter that asks the service for the limit ``mail``."""
    url = f'http://127.0.0.1:{service.port}'
    config = Config(ratelimit_host=url, ratelimit_domain=DOMAIN, ratelimit_timeout=timeout)
    return limiters(config, [Limit('q', 'mail')])['q']


def in_redis(url: str, text: str, name: str) -> Limiter:
    """Return a worker's limiter that counts in Redis."""
    config = Config(ratelimit_redis_url=url, ratelimit_timeout=PATIENT)
    return limiters(config, [Limit('q', name, parse(text))])['q']


def error_of(limiter: Limiter) -> LimiterError:
    """Ask for a permit, and return the error that is the answer."""
    with pytest.raises(LimiterError) as caught:
        limiter.acquire(1)
    return caught.value
