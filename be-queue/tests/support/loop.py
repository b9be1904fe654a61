"""Turning kombu's event loop until a condition holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kombu.asynchronous import Hub

from be_queue.transport.observer import Observer
from be_queue.transport.requests import Requests

__all__ = ['requests_in_loop', 'turn_until']

#: Seconds between two turns in which nothing happens.
TICK = 0.01


def turn_until(hub: Hub, condition: Callable[[], Any], what: str, timeout: float = 30.0) -> None:
    """Turn the loop until ``condition()`` is true; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    # Without it, a turn may sleep for a second.
    tick = hub.call_repeatedly(TICK, lambda: None)
    while not condition():
        assert time.monotonic() < deadline, f'{what}: not within {timeout} s'
        hub.run_once()
    tick.cancel()


def requests_in_loop(hub: Hub, client: Any, observer: Observer) -> Requests:
    """Return what sends requests with a boto3 client's credentials, as where the loop runs."""
    requests = Requests(hub, lambda _queue: client, observer)
    requests.in_loop = True
    hub.on_tick.add(requests.check)
    return requests
