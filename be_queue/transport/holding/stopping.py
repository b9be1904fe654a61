"""The end of a worker: what it has not started goes back to SQS, what is on its way is awaited.

SQS may answer a receive that is in flight at any moment of its wait. Were its connection closed,
the messages would stay hidden for the visibility timeout with nobody to run them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.worker import state

from be_queue.transport.holding.release import release

__all__ = ['await_receives', 'release_unstarted', 'turn_until']

#: Seconds within which what has happened reaches its callback.
PATIENCE = 2.0
#: Seconds between two looks at the condition that the loop turns for.
PULSE = 0.05


def turn_until(hub: Any, condition: Callable[[], bool], timeout: float) -> None:
    """Run an event loop that nobody else runs any more.

    Arguments:
        hub: kombu's loop.
        condition: ends it.
        timeout: seconds to wait for the condition at most.
    """
    deadline = time.monotonic() + timeout
    # The loop sleeps until its next timer.
    pulse = hub.call_repeatedly(PULSE, lambda: None)
    loop = hub.create_loop()
    while not condition() and time.monotonic() < deadline:
        try:
            next(loop)
        except StopIteration:
            loop = hub.create_loop()
    pulse.cancel()


def await_receives(channel: Any, timeout: float) -> None:
    """Wait until no receive, hop, dead letter or return is in flight; what still comes is released.

    Arguments:
        channel: the `Channel`, which starts no more receives.
        timeout: seconds to wait for at most.
    """
    parts = [channel.receiving, channel.hops, channel.dead_letters, channel.hand_back]
    turn_until(channel.hub, lambda: not any(part.in_flight for part in parts), timeout)


def release_unstarted(channel: Any) -> None:
    """Release what no child has started: the pool has dropped it, and another worker can run it.

    Nothing to do unless the worker stops: after a lost connection its pool goes on.
    """
    if state.should_stop is None and state.should_terminate is None:
        return
    # The acks of tasks that have just ended are among the callbacks. And an extension of visibility
    # that SQS answers after the release would hide the message again.
    turn_until(
        channel.hub, lambda: not (channel.hub._ready or channel.visibility.in_flight), PATIENCE
    )
    kept = {request.message.delivery_tag for request in state.active_requests}
    kept |= channel.dead_letters.moving
    waiting = [(tag, message) for tag, message in channel.held() if tag not in kept]
    release(
        channel,
        [
            (m.delivery_info['received_from'], m.delivery_info['sqs_queue'], tag)
            for tag, m in waiting
        ],
    )
    for tag, _ in waiting:
        channel.qos.forget(tag)
