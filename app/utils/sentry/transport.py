"""Sends reports from a thread, and says once when they do not arrive."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from sentry_sdk.transport import HttpTransport

from be_queue.outage import Outage

__all__ = ['Transport']

logger = logging.getLogger(__name__)


class UnavailableError(Exception):
    """Sentry takes no reports at present."""


class Transport(HttpTransport):
    """The SDK's, which tries each report for 30 s, four times, with a log line for each try.

    A report that cannot be sent is dropped, as is one that comes while the queue is full.
    """

    #: Seconds for a request.
    TIMEOUT = 5
    #: HTTP statuses that say nothing about the report.
    UNAVAILABLE = frozenset({429, 502, 503, 504})
    #: Seconds between two log lines about reports that found the queue full.
    PAUSE = 60

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._outage = Outage('Sentry', hint='SENTRY_DSN, and the network between')
        # The status with which the last report was refused: reports in a row have one line.
        self._refused = 0
        self._queue_size = options['transport_queue_size']
        # Reports that found the queue full, which no line has said yet; and when the last did.
        self._dropped = 0
        self._said_at = -math.inf

    def kill(self) -> None:
        self._said_at = -math.inf
        self._say_dropped()
        super().kill()

    def on_dropped_event(self, reason: str) -> None:
        if reason != 'full_queue':
            return  # `_request` says the other reasons
        self._dropped += 1
        self._say_dropped()

    def _get_pool_options(self) -> dict[str, Any]:
        return super()._get_pool_options() | {'retries': False}

    def _request(self, method: str, endpoint_type: Any, body: Any, headers: Any) -> Any:
        self._say_dropped()
        try:
            response = super()._request(method, endpoint_type, body, headers)
        except Exception as error:
            self._outage.failed(error)
            raise
        if response.status in self.UNAVAILABLE:
            self._outage.failed(UnavailableError(f'HTTP status {response.status}'))
        else:
            self._outage.ended()
            self._say_refused(response.status)
        return response

    def _say_refused(self, status: int) -> None:
        before, self._refused = self._refused, 0 if 200 <= status < 300 else status
        if self._refused in (0, before):
            return
        if status == 413:
            logger.warning('a report to Sentry is dropped: it is larger than Sentry takes')
        else:
            logger.warning(
                'a report to Sentry is dropped: Sentry refused it with HTTP status %d; if it '
                'refuses every report, check SENTRY_DSN',
                status,
            )

    def _say_dropped(self) -> None:
        now = time.monotonic()
        if not self._dropped or now < self._said_at + self.PAUSE:
            return
        dropped, self._dropped, self._said_at = self._dropped, 0, now
        logger.warning(
            'reports to Sentry are dropped, since %d wait to be sent: reports=%d',
            self._queue_size,
            dropped,
        )
