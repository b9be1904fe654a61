"""Counts what a channel of the transport does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from be_queue.transport import Observer
from be_queue.transport.sqs_errors import STATUSES
from be_queue.worker.metrics import metrics

__all__ = ['Counting']


# Looking a metric up takes longer than counting. A worker has few queues, and SQS few operations.


@lru_cache(None)
def _of(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


@lru_cache(None)
def _polls(queue: str) -> dict[str, Any]:
    # All at once: Prometheus sees no increase in a series that begins with 1.
    _of(metrics.RELEASED, queue)
    for outcome in ('ok', 'error'):
        _of(metrics.EXTENSIONS, queue, outcome)
    return {each: _of(metrics.POLLS, queue, each) for each in ('messages', 'empty', 'error')}


@lru_cache(None)
def _requests(operation: str) -> dict[str, Any]:
    return {status: _of(metrics.REQUESTS, operation, status) for status in STATUSES}


class Counting(Observer):
    """Counts all of it."""

    def requested(self, operation: str, status: str, seconds: float) -> None:
        _requests(operation)[status].inc()
        _of(metrics.REQUEST_SECONDS, operation).observe(seconds)

    def received(self, queue: str, count: int) -> None:
        _polls(queue)['messages' if count else 'empty'].inc()
        if count:
            _of(metrics.RECEIVE_BATCH, queue).observe(count)

    def receive_failed(self, queue: str) -> None:
        _polls(queue)['error'].inc()

    def deleted(self, queue: str, asked: int, delays: Sequence[float]) -> None:
        _of(metrics.DELETE_BATCH, queue).observe(asked)
        for delay in delays:
            _of(metrics.ACK_DELAY, queue).observe(delay)

    def extended(self, queue: str, count: int, failed: int) -> None:
        _of(metrics.EXTENSIONS, queue, 'ok').inc(count)
        _of(metrics.EXTENSIONS, queue, 'error').inc(failed)

    def released(self, queue: str, count: int) -> None:
        _of(metrics.RELEASED, queue).inc(count)
