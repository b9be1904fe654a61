"""What may hold receives back: a place for rate limits, of which this library has none itself."""

from __future__ import annotations

__all__ = ['Gate']


class Gate:
    """Lets every receive through.

    A subclass holds some back, and calls `Receiving.wake` when more may be admitted than it has
    said before. A channel's ``gate`` is the place for it.
    """

    def is_open(self, queue: str) -> bool:
        """Return False while not one message of the queue may be asked for."""
        return True

    def admit(self, queue: str, count: int, room: int) -> int:
        """Return how many of ``count`` messages may be asked for now, 0 at least.

        ``room`` is how many the worker could take in all, with receives that follow.
        """
        return count

    def settle(self, queue: str, admitted: int, taken: int, asked_at: float) -> None:
        """Take note of the end of a receive that was let through.

        Arguments:
            admitted: messages that it asked for.
            taken: those it brought whose time to run has come.
            asked_at: when it began, by the monotonic clock.
        """

    def close(self) -> None:
        """Give up what needs the event loop."""
