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
SECONDS = {'SECOND': 1, 'MINUTE': 60, 'HOUR': 3600, 'DAY': 86_400}

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

    def decide(self, question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return HTTP status and answer."""
        if not question.get('domain') or not question.get('descriptors'):
            return 400, {}
        statuses = [
            self._status(question['domain'], descriptor, question.get('hitsAddend', 1))
            for descriptor in question['descriptors']
        ]
        over = any(status['code'] == 'OVER_LIMIT' for status in statuses)
        code = 'OVER_LIMIT' if over else 'OK'
        return 429 if over else 200, {'overallCode': code, 'statuses': statuses}

    def _status(self, domain: str, descriptor: dict[str, Any], hits: int) -> dict[str, Any]:
        (entry,) = descriptor['entries']
        limit = self.limits.get(entry['value']) if entry['key'] == 'generic_key' else None
        if domain != DOMAIN or limit is None:
            return {'code': 'OK'}
        if limit.amount is None:
            return {'code': 'OK', 'limitRemaining': UNLIMITED}
        now, length = int(time.time()), SECONDS[limit.unit]
        with self._lock:
            before = limit.hits[now // length]
            allowed = before + hits <= limit.amount
            if allowed or self.counts_denied:
                limit.hits[now // length] += hits
        remaining = limit.amount - before - hits if allowed else 0
        return {
            'code': 'OK' if allowed else 'OVER_LIMIT',
            # Its JSON leaves out what is zero.
            'currentLimit': {
                **({'requestsPerUnit': limit.amount} if limit.amount else {}),
                'unit': limit.unit,
            },
            **({'limitRemaining': remaining} if remaining else {}),
            'durationUntilReset': f'{length - now % length}s',
        }


class Handler(faulty.Handler):
    """One connection of a client."""

    server: RateLimitService

    def do_POST(self) -> None:  # noqa: N802  (its base's name)
        self.question = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        (entry,) = self.question['descriptors'][0]['entries']
        self.server.requests[entry['value']] += 1
        self.server.hits.append(self.question['hitsAddend'])
        fault = self.server.fault
        if self.path != '/json':
            self.answer(404, b'404 page not found')
        elif fault is not None:
            fault(self)
        else:
            status, answer = self.server.decide(self.question)
            self.answer(status, json.dumps(answer).encode())


def running_service() -> AbstractContextManager[RateLimitService]:
    """Run a service that knows no limit yet."""
    return faulty.serving(RateLimitService())
