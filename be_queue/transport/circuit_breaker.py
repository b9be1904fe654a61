"""Stops requests to a server that does not answer: each would wait until its time-out."""

from __future__ import annotations

import threading

__all__ = ['MAX_FAILURES', 'CircuitBreaker']

#: Requests in a row without an answer that open the circuit.
MAX_FAILURES = 3


class CircuitBreaker:
    """Opens when requests to one SQS server, of any thread, find no answer; it never closes again.

    It lives as long as one `send_batch`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        #: Why it is open: the error of the last request; None while it is closed.
        self.error: Exception | None = None

    def succeeded(self) -> None:
        """Count an answer of SQS, be it an error."""
        with self._lock:
            self._failures = 0

    def failed(self, error: Exception) -> None:
        """Count a request that found no answer, after all its attempts."""
        with self._lock:
            self._failures += 1
            if self._failures >= MAX_FAILURES and self.error is None:
                self.error = error
