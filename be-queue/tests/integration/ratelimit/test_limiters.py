"""Every limiter keeps the same promises: in memory, in a real Redis, by a service over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse

from app.config.configuration import Config
from be_queue.worker.ratelimit import Limit, Limiter, limiters
from tests.integration.ratelimit.conftest import Clock, in_redis, of_service
from tests.support.ratelimit_service import RateLimitService
from tests.support.redis import RedisServer

#: Makes so many limiters that share a limit, such as 40 a ``DAY``.
Make = Callable[[int, int, str], Sequence[Limiter]]

COUNTS_DENIED = 'a service that counts what it denies'


@pytest.fixture(params=['memory', 'Redis', 'a service', COUNTS_DENIED])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str, redis: RedisServer, service: RateLimitService, name: str) -> Make:
    service.counts_denied = kind == COUNTS_DENIED

    def made(size: int, amount: int, unit: str) -> Sequence[Limiter]:
        text = f'{amount}/{unit.lower()}'
        if kind == 'memory':
            limits = [Limit(f'q{number}', 'mail', parse(text)) for number in range(size)]
            return [*limiters(Config(), limits).values()]
        if kind == 'Redis':
            return [in_redis(redis.url, text, name) for _ in range(size)]
        service.limit('mail', amount, unit)
        return [of_service(service) for _ in range(size)]

    return made


def take_all(asked: Sequence[Limiter], count: int) -> int:
    """Ask side by side until all are told to wait; return the permits granted."""
    permits = 0
    with ThreadPoolExecutor(len(asked)) as pool:
        while asked:
            grants = list(pool.map(lambda limiter: limiter.acquire(count), asked))
            permits += sum(grant.permits for grant in grants)
            asked = [one for one, grant in zip(asked, grants, strict=True) if not grant.is_used_up]
    return permits


@pytest.mark.parametrize('count', [1, 3, 7, 100])
def test_workers_side_by_side_use_a_window_up_and_no_more(
    make: Make, kind: str, count: int
) -> None:
    permits = take_all(make(5, 40, 'DAY'), count)
    assert permits == 40 or (kind == COUNTS_DENIED and 0 < permits < 40)


@pytest.mark.parametrize('count', [1, 3, 40, 100])
def test_a_worker_alone_gets_all_of_each_window(make: Make, clock: Clock, count: int) -> None:
    limiter = make(1, 40, 'MINUTE')
    assert take_all(limiter, count) == 40
    assert limiter[0].acquire(count).permits == 0
    clock.next_window(60)
    assert take_all(limiter, count) == 40


def test_a_grant_holds_until_the_window_ends(make: Make, clock: Clock) -> None:
    clock.now = clock.now // 60 * 60 + 42.5
    (limiter,) = make(1, 40, 'MINUTE')
    grant = limiter.acquire(3)
    assert (grant.permits, grant.is_used_up, grant.window) == (3, False, 60.0)
    assert grant.ends_in == pytest.approx(17.5, abs=0.01)


def test_what_is_left_is_granted_in_part(make: Make) -> None:
    first, second = make(2, 40, 'DAY')
    assert first.acquire(30).permits == 30
    grant = second.acquire(30)
    assert (grant.permits, grant.is_used_up) == (10, True)
