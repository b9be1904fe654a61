"""Holds receives back: subclass it for rate limits. This library has none of its own."""

from __future__ import annotations

__all__ = ['Gate']


class Gate:
    """Lets every receive through: the base class for a channel's ``gate``.

    A subclass holds some back, and calls `Receiving.wake` when it would admit more than before. Its
    methods are called in the event loop, and must not block.
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
        """A receive that was admitted has ended.

        Arguments:
            admitted: messages that it asked for.
            taken: messages that it returned whose time to run has come.
            asked_at: when it began, by the monotonic clock.
        """

    def close(self) -> None:
        """Nothing more is received: release what needs the event loop."""
