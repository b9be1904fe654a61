"""The gate asks limiters beside the event loop."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub

from be_queue.worker.ratelimit.gate import RateLimitGate
from be_queue.worker.ratelimit.limiter import Limiter
from tests.integration.ratelimit.asking import PATIENT, in_memory, in_redis, of_service
from tests.support import faulty
from tests.support.loop import turn_until
from tests.support.ratelimit_service import RateLimitService


@pytest.fixture
def hanging(service: RateLimitService) -> Iterator[list[Limiter]]:
    """Limiters that give no answer before they give up."""
    service.fail(faulty.no_answer)
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        # More than one pool of connections would have.
        yield [
            *(of_service(service, timeout=PATIENT) for _ in range(6)),
            *(in_redis(f'redis://127.0.0.1:{port}/0', '5/day', f'n{n}', PATIENT) for n in range(6)),
        ]


def test_limiters_that_hang_stop_neither_the_event_loop_nor_other_queues(
    hub: Hub, hanging: list[Limiter]
) -> None:
    limiters = {f'hanging-{n}': limiter for n, limiter in enumerate(hanging)}
    limiters['good'] = in_memory('5/day')[0]
    gate = RateLimitGate(limiters, hub, lambda: None, 'closed')
    try:
        assert [gate.admit(queue, 10, 10) for queue in limiters] == [0] * len(limiters)
        turn_until(hub, lambda: gate.is_open('good'), 'the good one has permits')
        assert gate.admit('good', 10, 10) == 1
        assert not any(gate.is_open(queue) for queue in limiters if queue != 'good')
        assert gate.admit('without a limit', 10, 10) == 10
    finally:
        gate.close()
