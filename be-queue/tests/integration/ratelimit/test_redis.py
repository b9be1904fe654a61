"""Limits that are counted in a real Redis, and a Redis that fails."""

from __future__ import annotations

from typing import Any

import pytest
from limits import parse

from be_queue.testing.ports import free_port
from be_queue.testing.proxy import Proxy
from be_queue.worker.ratelimit import Fault
from be_queue.worker.ratelimit.windows import Windows, storage
from tests.integration.ratelimit.conftest import PATIENT, Clock, error_of, in_redis
from tests.support.redis import RedisServer

#: That Redis refuses: two it does not know, and a user who may do nothing.
LOGINS = (':hush', 'nobody:hush', 'limits:mute')


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
    assert (grant.permits, grant.is_used_up) == (0, False)
    monkeypatch.undo()
    assert late.acquire(10).permits == 3


def test_every_key_ends(redis: RedisServer, name: str, clock: Clock) -> None:
    limiter = in_redis(redis.url, '3/minute', name)
    for _ in range(3):
        limiter.acquire(2)
        clock.next_window(60)
    with redis.client() as client:
        lives = [client.ttl(key) for key in client.scan_iter(match=f'*{name}*')]
    assert len(lives) == 3
    assert all(0 < life <= 120 for life in lives)


def test_a_redis_that_has_lost_all(redis: RedisServer, name: str) -> None:
    limiter = in_redis(redis.url, '10/day', name)
    assert limiter.acquire(10).permits == 10
    with redis.client() as client:
        client.script_flush()
        client.delete(*client.scan_iter(match=f'*{name}*'))
    assert limiter.acquire(10).permits == 10


def test_redis_away_is_an_error_and_then_it_goes_on(redis: RedisServer, name: str) -> None:
    proxy = Proxy(('127.0.0.1', redis.port))
    limiter = in_redis(f'redis://127.0.0.1:{proxy.port}', '10/day', name)
    assert limiter.acquire(2).permits == 2
    proxy.cut()
    for _ in range(2):
        assert error_of(limiter).fault is Fault.UNREACHABLE
    proxy.restore()
    assert limiter.acquire(8).permits == 8
    proxy.cut()


def test_nothing_shows_the_password(redis: RedisServer, name: str) -> None:
    with redis.client() as client:
        client.acl_setuser('limits', enabled=True, passwords=['+mute'], reset=True)
    servers = {f'{login}@127.0.0.1:{redis.port}': Fault.REFUSED for login in LOGINS}
    for server, fault in (servers | {f':hush@127.0.0.1:{free_port()}': Fault.UNREACHABLE}).items():
        error = error_of(in_redis(f'redis://{server}', '10/day', name))
        assert error.fault is fault
        assert 'hush' not in str(error)
        assert 'mute' not in str(error)
