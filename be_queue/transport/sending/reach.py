"""Whether SQS answers: while it does not, each further request would wait in vain."""

from __future__ import annotations

import threading

__all__ = ['MOST_UNREACHED', 'Reach']

#: Calls or requests in a row that do not reach SQS, after which the others are not tried.
MOST_UNREACHED = 3


class Reach:
    """What the threads that send by one boto3 client have seen of SQS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._lost: Exception | None = None

    @property
    def lost(self) -> Exception | None:
        """The error of the last request that was tried; None while there is reason to try."""
        return self._lost

    def answered(self) -> None:
        """SQS has answered a request, be it with an error."""
        with self._lock:
            self._in_a_row = 0

    def unanswered(self, error: Exception) -> None:
        """A request has ended without an answer, after all its tries."""
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row >= MOST_UNREACHED and self._lost is None:
                self._lost = error
