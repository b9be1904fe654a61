"""Counts what a channel of the transport does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from prometheus_client import Counter

from be_queue.transport import Observer
from be_queue.transport.sqs_errors import STATUSES
from be_queue.worker.metrics import metrics

__all__ = ['Counting']


class _Queue:
    """The metrics of one queue: looking one up takes longer than counting."""

    def __init__(self, queue: str) -> None:
        self.messages = metrics.POLLS.labels(queue, 'messages')
        self.empty = metrics.POLLS.labels(queue, 'empty')
        self.error = metrics.POLLS.labels(queue, 'error')
        self.receive_batch = metrics.RECEIVE_BATCH.labels(queue)
        self.delete_batch = metrics.DELETE_BATCH.labels(queue)
        self.ack_delay = metrics.ACK_DELAY.labels(queue)
        self.extended = metrics.EXTENSIONS.labels(queue, 'ok')
        self.not_extended = metrics.EXTENSIONS.labels(queue, 'error')
        self.released = metrics.RELEASED.labels(queue)


# A worker has few queues, and SQS few operations.
_queue = lru_cache(None)(_Queue)
_request_seconds = lru_cache(None)(metrics.REQUEST_SECONDS.labels)


@lru_cache(None)
def _requests(operation: str) -> dict[str, Counter]:
    # All at once: Prometheus sees no increase in a series that begins with 1.
    return {status: metrics.REQUESTS.labels(operation, status) for status in STATUSES}


class Counting(Observer):
    """Counts all of it."""

    def requested(self, operation: str, status: str, seconds: float) -> None:
        _requests(operation)[status].inc()
        _request_seconds(operation).observe(seconds)

    def received(self, queue: str, count: int) -> None:
        counted = _queue(queue)
        if count:
            counted.messages.inc()
            counted.receive_batch.observe(count)
        else:
            counted.empty.inc()

    def receive_failed(self, queue: str) -> None:
        _queue(queue).error.inc()

    def deleted(self, queue: str, asked: int, delays: Sequence[float]) -> None:
        counted = _queue(queue)
        counted.delete_batch.observe(asked)
        for delay in delays:
            counted.ack_delay.observe(delay)

    def extended(self, queue: str, count: int, failed: int) -> None:
        counted = _queue(queue)
        counted.extended.inc(count)
        counted.not_extended.inc(failed)

    def released(self, queue: str, count: int) -> None:
        _queue(queue).released.inc(count)
