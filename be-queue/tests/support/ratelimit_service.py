"""A rate-limit service: Envoy's protocol over HTTP, with limits and faults that tests set."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.support import faulty
from tests.support.faulty_service import FaultyService

__all__ = ['DOMAIN', 'RateLimitService', 'running_service']

DOMAIN = 'tests'
SECONDS = {'SECOND': 1, 'MINUTE': 60, 'DAY': 86_400}
#: What remains of a name without a limit.
UNLIMITED = 2**32 - 1


@dataclass
class Limit:
    """So many hits of each window, which begins at a full unit of time; None is unlimited."""

    amount: int | None
    unit: str
    hits: Counter[int] = field(default_factory=Counter)


class RateLimitService(FaultyService):
    """Knows the limits of one domain.

    As https://github.com/envoyproxy/ratelimit does, it takes hits off the window that it does not
    allow, unless ``counts_denied`` is False.
    """

    def __init__(self) -> None:
        super().__init__(0, Handler)
        self.limits: dict[str, Limit] = {}
        self.counts_denied = True
        #: Requests by name, the failed ones included.
        self.requests: Counter[str] = Counter()
        #: The hits that each of them asked for.
        self.hits: list[int] = []
        self._lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a worker uses it."""
        return {'RATELIMIT_HOST': f'127.0.0.1:{self.port}', 'RATELIMIT_DOMAIN': DOMAIN}

    def limit(self, name: str, amount: int | None, unit: str = 'SECOND') -> None:
        """Set the limit of a name."""
        self.limits[name] = Limit(amount, unit)

    def decide(self, domain: str, name: str, hits: int) -> dict[str, Any]:
        """Return the status of a descriptor. The service's JSON leaves out what is zero."""
        limit = self.limits.get(name)
        if domain != DOMAIN or limit is None:
            return {'code': 'OK'}
        if limit.amount is None:
            return {'code': 'OK', 'limitRemaining': UNLIMITED}
        window = int(time.time()) // SECONDS[limit.unit]
        with self._lock:
            remaining = limit.amount - limit.hits[window] - hits
            if remaining >= 0 or self.counts_denied:
                limit.hits[window] += hits
        shown = {'requestsPerUnit': limit.amount} if limit.amount else {}
        status = {
            'code': 'OK' if remaining >= 0 else 'OVER_LIMIT',
            'currentLimit': {**shown, 'unit': limit.unit},
        }
        return status | ({'limitRemaining': remaining} if remaining > 0 else {})


class Handler(faulty.Handler):
    """One connection of a client."""

    server: RateLimitService

    def do_POST(self) -> None:  # noqa: N802  (its base's name)
        question = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        ((entry,),) = (descriptor['entries'] for descriptor in question['descriptors'])
        name, hits = entry['value'], question['hitsAddend']
        self.server.requests[name] += 1
        self.server.hits.append(hits)
        if self.server.fault is not None:
            self.server.fault(self)
        elif self.path != '/json' or entry['key'] != 'generic_key':
            self.answer(404, b'404 page not found')
        else:
            status = self.server.decide(question['domain'], name, hits)
            answer = {'overallCode': status['code'], 'statuses': [status]}
            self.answer(200 if status['code'] == 'OK' else 429, json.dumps(answer).encode())


def running_service() -> AbstractContextManager[RateLimitService]:
    """Run a service that knows no limit yet."""
    return faulty.serving(RateLimitService())
