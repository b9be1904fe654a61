"""The gate asks limiters beside the event loop."""

from __future__ import annotations

import socket

import pytest
from kombu.asynchronous import Hub

from app.config.configuration import Config
from be_queue.worker.ratelimit import Grant, limiters
from be_queue.worker.ratelimit.permits import RateLimitGate
from be_queue.worker.ratelimit.plan import plan
from tests.integration.ratelimit.conftest import in_redis, of_service
from tests.support import faulty
from tests.support.loop import turn_until
from tests.support.ratelimit_service import RateLimitService


def test_limiters_that_hang_stop_neither_the_event_loop_nor_other_queues(
    hub: Hub, service: RateLimitService
) -> None:
    service.fail(faulty.no_answer)
    good = limiters(Config(), plan(Config(), {'good': {'limit': '5/day'}}))
    with socket.create_server(('127.0.0.1', 0)) as silent:
        url = f'redis://127.0.0.1:{silent.getsockname()[1]}/0'
        # More than one pool of connections would have.
        hanging = [of_service(service) for _ in range(6)]
        hanging += [in_redis(url, '5/day', f'n{number}') for number in range(6)]
        asked = {f'hanging-{number}': one for number, one in enumerate(hanging)} | good
        gate = RateLimitGate(asked, hub, lambda: None, 'closed')
        try:
            assert [gate.admit(queue, 10, 10) for queue in asked] == [0] * len(asked)
            turn_until(hub, lambda: gate.is_open('good'), 'the good one has permits')
            assert gate.admit('good', 10, 10) == 1
            assert not any(gate.is_open(queue) for queue in asked if queue != 'good')
            assert gate.admit('without a limit', 10, 10) == 10
        finally:
            gate.close()


class Broken:
    def acquire(self, count: int) -> Grant:
        raise ValueError('a mistake in a limiter of your own')


def test_a_limiter_that_raises_anything_counts_as_unavailable(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    gate = RateLimitGate({'broken': Broken()}, hub, lambda: None, 'open')
    try:
        turn_until(hub, lambda: gate.admit('broken', 10, 10) == 10, 'the policy holds')
    finally:
        gate.close()
    assert 'ValueError: a mistake in a limiter of your own' in caplog.text
