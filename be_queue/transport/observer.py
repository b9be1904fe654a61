"""What may watch a channel: a place for metrics, of which this library has none itself."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ['Observer']


class Observer:
    """Takes note of nothing.

    A subclass does, quickly and without raising: it is called by the event loop, and once that has
    ended by a thread. A channel's ``observer`` is the place for it. ``queue`` is the name in kombu.
    """

    def requested(self, operation: str, status: str, seconds: float) -> None:
        """A request to SQS ended.

        Arguments:
            operation: SQS's name for it, such as ``SendMessageBatch``.
            status: one of `be_queue.transport.clients.sqs_errors.STATUSES`.
            seconds: how long it took, with what a long poll waits.
        """

    def received(self, queue: str, count: int) -> None:
        """A receive brought ``count`` messages, or none."""

    def receive_failed(self, queue: str) -> None:
        """A receive failed."""

    def deleted(self, queue: str, asked: int, delays: Sequence[float]) -> None:
        """SQS answered a request to delete ``asked`` messages.

        Arguments:
            delays: for each that it deleted, the seconds since its ack.
        """

    def extended(self, queue: str, count: int, failed: int) -> None:
        """SQS keeps ``count`` messages hidden for longer, and ``failed`` not."""

    def released(self, queue: str, count: int) -> None:
        """Messages were handed back: visible at once."""
