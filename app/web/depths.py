"""How many messages wait in each queue, as the broker says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from celery import Celery

__all__ = ['MAX_AGE', 'DepthProbe']

#: Seconds after which a depth is no longer worth showing.
MAX_AGE = 15.0


class DepthProbe:
    """Asks for one queue after the other and keeps the answers; raises what goes wrong.

    Arguments:
        celery_app: leads to the broker.
        queues: names of the queues.
    """

    def __init__(self, celery_app: Celery, queues: Sequence[str]) -> None:
        self._app = celery_app
        self._queues = queues
        self._channel: Any = None
        self._depths: dict[str, tuple[int, float]] = {}

    def __call__(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            channel = self._app.connection_for_read().channel()
        for queue in self._queues:
            waiting = channel.queue_declare(queue=queue, passive=True).message_count
            self._depths[queue] = waiting, time.monotonic()
        self._channel = channel  # kept for the next time only when it works

    def waiting(self, queue: str) -> int | None:
        """Return the messages that wait in a queue; None when that is not known, or long ago."""
        waiting, asked_at = self._depths.get(queue, (0, float('-inf')))
        return waiting if time.monotonic() - asked_at < MAX_AGE else None
