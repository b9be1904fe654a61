"""The end of a worker: what it has not started goes back to SQS, what is on its way is awaited.

SQS may answer a receive that is in flight at any moment of its wait. Were its connection closed,
the messages would stay hidden for the visibility timeout with nobody to run them.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker import state

from be_queue.transport.release import release

__all__ = ['await_receives', 'release_unstarted']


def await_receives(channel: Any, timeout: float) -> None:
    """Run the event loop until no receive is in flight; what still comes is released.

    Arguments:
        channel: the `Channel`, which starts no more receives.
        timeout: seconds to wait for at most.
    """
    hub = channel.hub
    deadline = time.monotonic() + timeout
    # The loop sleeps until its next timer.
    alarm = hub.call_later(timeout, lambda: None)
    loop = hub.create_loop()
    while channel.receiving.in_flight and time.monotonic() < deadline:
        try:
            next(loop)
        except StopIteration:
            loop = hub.create_loop()
    alarm.cancel()


def release_unstarted(channel: Any) -> None:
    """Release what no child has started: the pool has dropped it, and another worker can run it.

    Nothing to do unless the worker stops: after a lost connection its pool goes on.
    """
    if state.should_stop is None and state.should_terminate is None:
        return
    started = {request.message.delivery_tag for request in state.active_requests}
    waiting = [(tag, message) for tag, message in channel.held() if tag not in started]
    release(
        channel,
        [(m.delivery_info['routing_key'], m.delivery_info['sqs_queue'], tag) for tag, m in waiting],
    )
    for tag, _ in waiting:
        channel.qos.forget(tag)
