"""A Redis that fails: each question has an answer in time, and all else goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from be_queue.testing.ports import free_port
from be_queue.testing.proxy import Proxy
from be_queue.worker.ratelimit.limiter import Fault
from tests.integration.ratelimit.asking import error_of, in_redis, take_all, unused_name
from tests.support.redis import RedisServer

#: Seconds; of the limiters that are to give up.
TIMEOUT = 1.0


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and says nothing."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        yield f'redis://:hush@127.0.0.1:{listener.getsockname()[1]}/0'


def test_redis_away_is_an_error_and_then_it_goes_on(redis: RedisServer) -> None:
    proxy = Proxy(('127.0.0.1', redis.port))
    limiter = in_redis(f'redis://127.0.0.1:{proxy.port}', '10/day', unused_name())
    assert limiter.acquire(2).permits == 2
    proxy.cut()
    for _ in range(2):
        assert error_of(limiter, 2).fault is Fault.UNREACHABLE
    proxy.restore()
    assert take_all([limiter], 3) == 8
    proxy.cut()


def test_a_redis_that_was_never_there() -> None:
    limiter = in_redis(f'redis://:hush@127.0.0.1:{free_port()}', '10/day', 'mail')
    error = error_of(limiter)
    assert error.fault is Fault.UNREACHABLE
    assert 'hush' not in str(error)


@pytest.mark.parametrize('login', [':hush', 'limits:hush', 'nobody:hush', 'limits:mute'])
def test_a_login_that_redis_refuses_is_told_without_the_password(
    redis: RedisServer, login: str
) -> None:
    with redis.client() as client:
        # A user who may do nothing.
        client.acl_setuser('limits', enabled=True, passwords=['+mute'], reset=True)
    url = f'redis://{login}@127.0.0.1:{redis.port}/0'
    error = error_of(in_redis(url, '10/day', unused_name()))
    assert error.fault is Fault.REFUSED
    assert 'hush' not in str(error)
    assert 'mute' not in str(error)
