"""Sends reports from a thread, and says once when they do not arrive."""

from __future__ import annotations

from typing import Any

from sentry_sdk.transport import HttpTransport

from be_queue.outage import Outage

__all__ = ['Transport']


class RefusedError(Exception):
    """Sentry did not take a report."""


class Transport(HttpTransport):
    """The SDK's, which tries each report for 30 s, four times, with a log line for each try.

    A report that cannot be sent is dropped, as is one that comes while the queue is full.
    """

    #: Seconds for a request.
    TIMEOUT = 5

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._outage = Outage('Sentry', hint='SENTRY_DSN, and the network between')

    def _get_pool_options(self) -> dict[str, Any]:
        return super()._get_pool_options() | {'retries': False}

    def _request(self, *args: Any, **kwargs: Any) -> Any:
        try:
            response = super()._request(*args, **kwargs)
        except Exception as error:
            self._outage.failed(error)
            raise
        if 200 <= response.status < 300:
            self._outage.ended()
        else:
            self._outage.failed(RefusedError(f'HTTP status {response.status}'))
        return response
