"""kombu's HTTP client of the event loop, with time-outs, and with timers that are on time."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import pycurl
from kombu.asynchronous.http.curl import CurlClient

from be_queue.transport.event_loop import Soon

__all__ = ['MAX_LONG_POLLS', 'MAX_REQUESTS', 'client_of', 'set_timeouts']

#: Requests in flight at a time; each is given one of as many handles, 4 KiB of memory.
MAX_REQUESTS = 100
#: The same for receives: each queue has a long poll. A process may open 1024 files by default.
MAX_LONG_POLLS = 500

_clients: WeakKeyDictionary[Any, dict[int, HttpClient]] = WeakKeyDictionary()


class HttpClient(CurlClient):
    """kombu's, with one timer.

    kombu takes curl's milliseconds for seconds, and leaves a timer behind for each request. While
    nothing is read or written its event loop fires ten timers a second: some hundred requests that
    fail together, when SQS is unavailable, would keep the worker from trying again for a minute.
    """

    _timer: Any = None

    def _set_timeout(self, msecs: int) -> None:
        """Check the transfers in so many milliseconds; -1 is never."""
        if msecs == 0:
            self._check_soon()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if msecs > 0:
            self._timer = self.hub.call_later(msecs / 1000, self._timeout_check)

    @cached_property
    def _check_soon(self) -> Soon:
        return Soon(self.hub, self._check)

    def _check(self) -> None:
        if not self._closed:
            self._timeout_check()


def set_timeouts(curl: Any, connect: float, total: float, once: bool) -> None:
    """Prepare a request: kombu sets no time-out at all.

    Arguments:
        connect, total: seconds to reach the server, and until its answer is there.
        once: open a new connection. On a used one curl repeats a request without an answer.
    """
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(connect * 1000))
    curl.setopt(pycurl.TIMEOUT_MS, int(total * 1000))
    curl.setopt(pycurl.FRESH_CONNECT, once)


def client_of(hub: Any, max_clients: int = MAX_REQUESTS) -> HttpClient:
    """Return the client of an event loop that has at most ``max_clients`` requests in flight."""
    clients = _clients.setdefault(hub, {})
    client = clients.get(max_clients)
    if client is None or client._closed:
        client = clients[max_clients] = HttpClient(hub, max_clients=max_clients)
    return client
