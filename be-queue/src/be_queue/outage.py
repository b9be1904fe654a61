"""Waits between retries of an unavailable server, with one log line at either end of the outage."""

from __future__ import annotations

import logging
import random
import time

from be_queue.redact import redact

__all__ = ['CHECK_RESULT_DB', 'CHECK_SQS', 'MAX_WAIT', 'Outage', 'brief']

logger = logging.getLogger(__name__)

#: Seconds: the first bound of the wait before a retry, which doubles, and the last.
FIRST_WAIT = 0.2
MAX_WAIT = 5.0
#: Settings to check while a server is unavailable.
CHECK_SQS = 'SQS_ENDPOINT_URL, AWS_REGION, the AWS credentials and their rights on the queues'
CHECK_RESULT_DB = 'RESULT_DB_HOST, _PORT, _NAME, _USER and _PASS, or CELERY_RESULT_BACKEND'
#: Characters of an error in the log.
ERROR_LENGTH = 500


class Outage:
    """Counts the consecutive failures of a server; the log asks to check ``hint``."""

    def __init__(self, server: str, max_wait: float = MAX_WAIT, hint: str = '') -> None:
        self._server, self._max_wait, self._hint = server, max_wait, hint
        self._failures = 0
        self._since = 0.0
        self._answered_at = float('-inf')

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def failed(self, error: BaseException, asked_at: float = float('inf'), hint: str = '') -> float:
        """Count a failure; return the seconds to wait before the next try.

        The wait is random, up to a bound that doubles, so that processes that lost the same server
        do not come back together. A request that was sent before the server's last answer
        (``asked_at``, by the monotonic clock) is late and no new outage. ``hint`` replaces that of
        the server.
        """
        if asked_at < self._answered_at:
            return random.uniform(0, FIRST_WAIT)
        if not self._failures:
            self._since = time.monotonic()
            hint = hint or self._hint
            line = '%s is unavailable, trying until it is back: %s%s'
            logger.warning(line, self._server, brief(error), hint and f': check {hint}')
        self._failures += 1
        # The exponent is bounded: a float overflows after a day of failures.
        return random.uniform(0, min(self._max_wait, FIRST_WAIT * 2 ** min(self._failures - 1, 10)))

    def ended(self) -> None:
        """Log the end of the outage, if there was one."""
        self._answered_at = time.monotonic()
        if self._failures:
            seconds = self._answered_at - self._since
            line = '%s is back: failures=%d seconds=%.1f'
            logger.warning(line, self._server, self._failures, seconds)
            self._failures = 0


def brief(error: BaseException) -> str:
    """Return one line with the class and text of the original error, without secrets."""
    # Celery's errors wrap SQLAlchemy's, which wrap the driver's and add the statement.
    cause = error.__cause__ or error
    cause = getattr(cause, 'orig', None) or cause
    text = ' '.join(f'{type(cause).__name__}: {cause}'.split())
    return str(redact(text))[:ERROR_LENGTH]
