"""Limiters, and what they ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.ratelimit_service import RateLimitService, running_service
from tests.support.redis import RedisServer, running_redis


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
