"""A Sentry that takes envelopes over HTTP, keeps them, and has the faults that tests set."""

from __future__ import annotations

import gzip
from contextlib import AbstractContextManager
from typing import Any

from sentry_sdk.envelope import Envelope

from be_queue.testing.waiting import wait_until
from tests.support import faulty
from tests.support.faulty_service import FaultyService

__all__ = ['KEY', 'Handler', 'SentryEndpoint', 'running_sentry']

KEY = 'c0ffee1234567890'
PROJECT = 42


class SentryEndpoint(FaultyService):
    """Knows one project and one key."""

    def __init__(self) -> None:
        super().__init__(0, Handler)
        #: Requests, the failed ones included.
        self.requests = 0
        #: Envelopes as they came, uncompressed.
        self.envelopes: list[bytes] = []

    @property
    def dsn(self) -> str:
        return f'http://{KEY}@127.0.0.1:{self.port}/{PROJECT}'

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every report of an error, as Sentry would take it."""
        return [
            item.payload.json
            for envelope in list(self.envelopes)
            for item in Envelope.deserialize(envelope).items
            if item.type == 'event'
        ]

    def of(self, **tags: str) -> list[dict[str, Any]]:
        """Return the reports that have these tags."""
        return [event for event in self.events if tags.items() <= event['tags'].items()]

    def wait_for(self, **tags: str) -> None:
        """Wait until there is a report with these tags."""
        wait_until(lambda: self.of(**tags), f'a report with {tags}')


class Handler(faulty.Handler):
    """One connection of a client."""

    server: SentryEndpoint

    def do_POST(self) -> None:  # noqa: N802  (its base's name)
        self.server.requests += 1
        self.body = self.rfile.read(int(self.headers['Content-Length']))
        if self.headers.get('Content-Encoding') == 'gzip':
            self.body = gzip.decompress(self.body)
        fault = self.server.fault or Handler.take
        fault(self)

    def take(self) -> None:
        """Keep the envelope, if it is for us."""
        if self.path != f'/api/{PROJECT}/envelope/':
            self.answer(404, b'{}')
        elif f'sentry_key={KEY}' not in self.headers['X-Sentry-Auth']:
            self.answer(401, b'{"detail":"missing authorization information"}')
        else:
            self.server.envelopes.append(self.body)
            self.answer(200, b'{}')


def running_sentry() -> AbstractContextManager[SentryEndpoint]:
    """Run one that has no reports yet."""
    return faulty.serving(SentryEndpoint())
