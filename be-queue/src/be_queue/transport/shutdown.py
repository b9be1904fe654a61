"""The end of consuming: unstarted messages go back to SQS, requests on their way are awaited.

SQS may answer a receive in flight at any moment of its wait. Were its connection closed, the
messages would stay hidden for the visibility timeout with nobody to run them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.worker import state

from be_queue.transport.requests import ANSWER_TIMEOUT
from be_queue.transport.visibility import CHANGE

__all__ = ['run_until', 'stop_consuming']

#: Seconds within which an event that has happened reaches its callback.
CALLBACK_SECONDS = 2.0
#: Seconds between two looks at the condition that the loop runs for.
PULSE_SECONDS = 0.05


def run_until(hub: Any, condition: Callable[[], bool], timeout: float) -> None:
    """Run an event loop that nobody else runs any more, for ``timeout`` seconds at most."""
    deadline = time.monotonic() + timeout
    # The loop sleeps until its next timer.
    pulse = hub.call_repeatedly(PULSE_SECONDS, lambda: None)
    # Not `Hub.run_once`, whose one generator may be running: a second signal interrupts the first.
    loop = hub.create_loop()
    while not condition() and time.monotonic() < deadline:
        try:
            next(loop)
        except StopIteration:
            loop = hub.create_loop()
    pulse.cancel()


def stop_consuming(channel: Any) -> None:
    """Do what needs the event loop, which may not run any more; no consumer is left."""
    hub, requests = channel.hub, channel.requests
    channel.receiving.stop()
    # An extension of visibility that SQS answers after the release would hide the message again.
    # And the acks of tasks that have just ended may be among the loop's callbacks.
    channel.visibility.pause()
    run_until(hub, lambda: not (hub._ready or requests.in_flight[CHANGE]), CALLBACK_SECONDS)
    for redelivery in channel.redeliveries.values():
        redelivery.stop()
    # After a lost connection the pool goes on: only a worker that stops drops unstarted tasks.
    if state.should_stop is not None or state.should_terminate is not None:
        _release_unstarted(channel)
    channel.visibility.start()
    run_until(hub, lambda: not requests.awaited, channel.drain_timeout)
    channel.visibility.pause()
    run_until(hub, lambda: not requests.in_flight[CHANGE], ANSWER_TIMEOUT)
    requests.in_loop = False
    # Acks that other threads have handed over meanwhile.
    run_until(hub, lambda: not hub._ready, CALLBACK_SECONDS)
    channel.visibility.continue_in_thread()
    channel.flush_acks()


def _release_unstarted(channel: Any) -> None:
    """Release what no child has started: the pool has dropped it, and another worker can run it."""
    kept = {request.message.delivery_tag for request in state.active_requests}
    kept |= channel.dead_letters.moving
    channel.hand_back.release(
        [message for tag, message in channel.qos.held.items() if tag not in kept]
    )
