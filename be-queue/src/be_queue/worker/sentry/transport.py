"""The SDK's transport, with one log line per outage and none per attempt."""

from __future__ import annotations

import logging
import time
from typing import Any

from sentry_sdk.transport import HttpTransport
from urllib3.exceptions import HTTPError

from be_queue.outage import Outage

__all__ = ['Transport']

logger = logging.getLogger(__name__)

#: HTTP statuses that tell nothing about the event.
UNAVAILABLE = (429, 502, 503, 504)
#: Seconds between two log lines about events that found the queue full.
LOG_INTERVAL = 60


class Transport(HttpTransport):
    """Sends each event once, from a thread; it is dropped if that fails or the queue is full."""

    #: Seconds for a request.
    TIMEOUT = 5

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._outage = Outage('Sentry', hint='SENTRY_DSN, and the network between')
        self._last_status = 200
        self._dropped, self._logged_at = 0, -float('inf')

    def kill(self) -> None:
        self._log_dropped(0)
        super().kill()

    def on_dropped_event(self, reason: str) -> None:
        if reason == 'full_queue':  # `_request` logs the others
            self._dropped += 1
            self._log_dropped(LOG_INTERVAL)

    def _get_pool_options(self) -> dict[str, Any]:
        return super()._get_pool_options() | {'retries': False}

    def _request(self, *args: Any, **kwargs: Any) -> Any:
        try:
            response = super()._request(*args, **kwargs)
        except Exception as error:
            self._outage.failed(error)
            raise
        status, before = response.status, self._last_status
        self._last_status = status
        if status in UNAVAILABLE:
            self._outage.failed(HTTPError(f'status {status}'))
            return response
        self._outage.ended()
        if not 200 <= status < 300 and status != before:
            logger.warning(
                'a report to Sentry is dropped: Sentry refused it with HTTP status %d; if it '
                'refuses every report, check SENTRY_DSN',
                status,
            )
        return response

    def _log_dropped(self, interval: float) -> None:
        if self._dropped and time.monotonic() >= self._logged_at + interval:
            logger.warning(
                'reports to Sentry are dropped, since %d wait to be sent: reports=%d',
                self.options['transport_queue_size'],
                self._dropped,
            )
            self._dropped, self._logged_at = 0, time.monotonic()
