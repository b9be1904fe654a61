"""kombu's HTTP client of the event loop, with timers that are on time."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import pycurl
from kombu.asynchronous.http.curl import CurlClient

from be_queue.transport.clients.soon import Soon

__all__ = ['MAX_LONG_POLLS', 'client_of', 'limit']

#: Requests in flight at a time; each is given one of as many handles, 4 KiB of memory.
MAX_REQUESTS = 100
#: Of receives: each queue has a long poll. A process may open 1024 files, where nobody allows more.
MAX_LONG_POLLS = 500

_clients: WeakKeyDictionary[Any, dict[str, Client]] = WeakKeyDictionary()


class Client(CurlClient):
    """kombu's, with one timer.

    kombu takes curl's milliseconds for seconds, and leaves a timer behind for each request. While
    nothing is read or written, its event loop fires ten timers a second: some hundred requests
    that fail together, when SQS is away, would keep the worker from trying again for a minute.
    """

    _timer: Any = None

    def _set_timeout(self, msecs: int) -> None:
        """Look after the transfers in so many milliseconds; -1 is never."""
        if msecs == 0:
            self._soon()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if msecs > 0:
            self._timer = self.hub.call_later(msecs / 1000, self._timeout_check)

    @cached_property
    def _soon(self) -> Soon:
        return Soon(self.hub, self._look_after)

    def _look_after(self) -> None:
        if not self._closed:
            self._timeout_check()


def limit(curl: Any, connect: float, total: float, once: bool = False) -> None:
    """Prepare a request; every one has to be, since its handle comes from another.

    kombu's client sets no time-out at all: a connection that died in silence is waited for forever.

    Arguments:
        connect, total: seconds to reach the server, and until its answer is there.
        once: take a new connection. On one that it has used before, curl by itself repeats a
            request without an answer.
    """
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(connect * 1000))
    curl.setopt(pycurl.TIMEOUT_MS, int(total * 1000))
    curl.setopt(pycurl.FRESH_CONNECT, once)


def client_of(hub: Any, server: str = 'SQS', most: int = MAX_REQUESTS) -> Client:
    """Return the client of an event loop for one server: another's requests may all be hanging.

    Arguments:
        most: requests in flight at a time.
    """
    clients = _clients.setdefault(hub, {})
    if server not in clients or clients[server]._closed:
        clients[server] = Client(hub, max_clients=most)
    return clients[server]
