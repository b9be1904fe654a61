"""Limits that are counted in a real Redis, asked from a real event loop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from limits import parse

from be_queue.testing.waiting import wait_until
from be_queue.worker.ratelimit.windows import Windows, storage
from tests.integration.ratelimit.asking import (
    PATIENT,
    in_memory,
    in_redis,
    outlast,
    take_all,
    together,
    unused_name,
)
from tests.support.redis import RedisServer


@pytest.fixture
def name() -> str:
    return unused_name()


def keys(redis: RedisServer, name: str) -> dict[str, int]:
    """Return the keys that Redis has for a limit, with the milliseconds that they live."""
    with redis.client() as client:
        return {key: client.pttl(key) for key in client.scan_iter(match=f'*{name}*')}


@pytest.mark.parametrize('count', [1, 3, 7, 100])
def test_workers_side_by_side_use_a_window_up_and_no_more(
    redis: RedisServer, name: str, count: int
) -> None:
    limiters = [in_redis(redis.url, '40/day', name) for _ in range(5)]
    assert take_all(limiters, count) == 40


def test_threads_that_ask_at_the_same_time_get_all_and_no_more(
    redis: RedisServer, name: str
) -> None:
    windows = Windows(storage(redis.url, PATIENT), parse('2000/day'), name)

    def take(seed: int) -> int:
        permits, grant = 0, windows.acquire(1)
        while not grant.retry_in:
            permits += grant.permits
            grant = windows.acquire(1 + (7 * seed + permits) % 97)
        return permits + grant.permits

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 2000


def test_whoever_is_a_moment_late_does_not_wait_for_the_next_window(
    redis: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, item = storage(redis.url, PATIENT), parse('10/day')
    late, early = Windows(counted, item, name), Windows(counted, item, name)
    look = counted.get_sliding_window

    def look_too_early(*args: Any) -> Any:
        seen = look(*args)
        early.acquire(3)
        return seen

    assert early.acquire(4).permits == 4
    monkeypatch.setattr(counted, 'get_sliding_window', look_too_early)
    grant = late.acquire(10)
    assert (grant.asked, grant.permits, grant.retry_in) == (10, 0, 0.0)
    monkeypatch.undo()
    assert late.acquire(10).permits == 3


def test_a_used_up_window_is_followed_by_a_whole_one(redis: RedisServer, name: str) -> None:
    used, fresh = (in_redis(redis.url, '5/second', name) for _ in range(2))
    grant = used.acquire(5)
    while not grant.retry_in:
        grant = used.acquire(5)
    outlast(grant)
    assert fresh.acquire(5).permits == 5


def test_a_grant_holds_until_the_window_ends(redis: RedisServer, name: str) -> None:
    grant = in_redis(redis.url, '10 per 2 hours', name).acquire(3)
    assert (grant.asked, grant.permits, grant.retry_in, grant.window) == (3, 3, 0.0, 7200.0)
    assert 0 < grant.expires_in <= 7200


def test_what_is_left_is_granted_in_part(redis: RedisServer, name: str) -> None:
    first, second = (in_redis(redis.url, '100/day', name) for _ in range(2))
    assert first.acquire(60).permits == 60
    grant = second.acquire(60)
    assert (grant.asked, grant.permits) == (60, 40)
    assert grant.retry_in == grant.expires_in > 0
    none = second.acquire(60)
    assert none.permits == 0
    assert 0 < none.retry_in <= none.window


def test_a_question_is_one_request_and_a_refusal_three(redis: RedisServer, name: str) -> None:
    limiter, other = (in_redis(redis.url, '100/day', name) for _ in range(2))
    # Redis learns the scripts.
    limiter.acquire(50)
    other.acquire(60)

    def requests(asked: Any, count: int) -> int:
        before = redis.scripts_run()
        asked.acquire(count)
        return redis.scripts_run() - before

    fresh = unused_name()
    limiter, other = (in_redis(redis.url, '100/day', fresh) for _ in range(2))
    assert requests(limiter, 60) == 1
    assert requests(other, 60) == 3
    assert requests(limiter, 1) == 1


def test_every_key_ends(redis: RedisServer, name: str) -> None:
    lives = {f'{name}-s': ('3/second', 2000), f'{name}-y': ('3/year', 2 * 360 * 86_400_000)}
    for key, (text, _) in lives.items():
        limiters = [in_redis(redis.url, text, key) for _ in range(2)]
        for _ in range(2):
            last = together(limiters, 2)
            take_all(limiters, 2)
            if text.endswith('second'):
                outlast(max(last, key=lambda grant: grant.expires_in))
    assert keys(redis, f'{name}-y')
    for key, (_, longest) in lives.items():
        assert all(0 < life <= longest for life in keys(redis, key).values())
    wait_until(lambda: not keys(redis, f'{name}-s'), 'those of seconds are gone')


def test_a_redis_that_has_lost_all(redis: RedisServer, name: str) -> None:
    limiter = in_redis(redis.url, '10/day', name)
    assert take_all([limiter], 10) == 10
    with redis.client() as client:
        client.script_flush()
        client.delete(*keys(redis, name))
    assert take_all([limiter], 10) == 10


def test_a_worker_alone_counts_in_its_memory() -> None:
    limiters = in_memory('40/day', '40/day')
    assert limiters[0].acquire(30).permits == 30
    grant = limiters[1].acquire(30)
    assert (grant.asked, grant.permits) == (30, 10)
    assert grant.retry_in == grant.expires_in > 0
    assert [grant.permits for grant in together(limiters, 30)] == [0, 0]
    assert in_memory('40/day')[0].acquire(30).permits == 30
