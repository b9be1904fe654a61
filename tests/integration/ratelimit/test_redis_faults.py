"""A Redis that fails: each question has an answer in time, and all else goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from app.utils.ratelimit.limiter import Fault
from app.utils.ratelimit.threads import WORKERS, Threads
from tests.integration.ratelimit.asking import Asking, unused_name
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.redis import RedisServer

#: Seconds; of the limiters that are to give up.
TIMEOUT = 1.0


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and says nothing."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        yield f'redis://:hush@127.0.0.1:{listener.getsockname()[1]}/0'


def test_while_redis_hangs_the_event_loop_goes_on(asking: Asking, silent: str) -> None:
    limiter = asking.redis(silent, '5/day', 'mail', TIMEOUT)
    asking.assert_goes_on(limiter, TIMEOUT)


def test_while_redis_hangs_every_question_has_an_answer(asking: Asking, silent: str) -> None:
    limiter = asking.redis(silent, '5/day', 'mail', TIMEOUT)
    errors: list[Any] = []
    for _ in range(4 * WORKERS):
        limiter.ask(1, errors.append, errors.append)
    asking.run_until(lambda: len(errors) == 4 * WORKERS, 'all have one')
    assert {error.fault for error in errors} == {Fault.TIMEOUT}


def test_hung_calls_are_bounded(asking: Asking) -> None:
    threads, mended = Threads(asking.hub, TIMEOUT), threading.Event()
    before = threading.active_count()
    outcomes: list[Any] = []

    def hang() -> str:
        mended.wait()
        return 'late'

    try:
        for _ in range(2 * WORKERS):
            threads.run(hang, outcomes.append, outcomes.append)
        assert not outcomes
        for number in range(1, 4):
            threads.run(hang, outcomes.append, outcomes.append)
            assert len(outcomes) == number
        assert threading.active_count() <= before + WORKERS
        asking.run_until(lambda: len(outcomes) == 3 + 2 * WORKERS, 'all are given up')
        assert {type(outcome) for outcome in outcomes} == {TimeoutError}
        mended.set()
        del outcomes[:]

        def is_mended() -> bool:
            threads.run(lambda: 'in time', outcomes.append, lambda error: None)
            return bool(outcomes)

        asking.run_until(is_mended, 'it is asked again')
        # What was given up says nothing any more.
        assert set(outcomes) == {'in time'}
    finally:
        mended.set()
        threads.close()


def test_redis_away_is_an_error_and_then_it_goes_on(asking: Asking, redis: RedisServer) -> None:
    proxy = Proxy(('127.0.0.1', redis.port))
    limiter = asking.redis(f'redis://127.0.0.1:{proxy.port}', '10/day', unused_name())
    assert asking.ask(limiter, 2).permits == 2
    proxy.cut()
    for _ in range(2):
        assert asking.error(limiter, 2).fault is Fault.UNREACHABLE
    proxy.restore()
    assert asking.take_all([limiter], 3) == 8
    proxy.cut()


def test_a_redis_that_was_never_there(asking: Asking) -> None:
    limiter = asking.redis(f'redis://:hush@127.0.0.1:{free_port()}', '10/day', 'mail')
    error = asking.error(limiter)
    assert error.fault is Fault.UNREACHABLE
    assert 'hush' not in str(error)


@pytest.mark.parametrize('login', [':hush', 'limits:hush', 'nobody:hush', 'limits:mute'])
def test_a_login_that_redis_refuses_is_told_without_the_password(
    asking: Asking, redis: RedisServer, login: str
) -> None:
    with redis.client() as client:
        # A user who may do nothing.
        client.acl_setuser('limits', enabled=True, passwords=['+mute'], reset=True)
    url = f'redis://{login}@127.0.0.1:{redis.port}/0'
    error = asking.error(asking.redis(url, '10/day', unused_name()))
    assert error.fault is Fault.REFUSED
    assert 'hush' not in str(error)
    assert 'mute' not in str(error)
