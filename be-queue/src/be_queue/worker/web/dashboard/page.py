"""What every page of the dashboard has: the health lights, and reads that end within a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Response, g

from be_queue.worker import heartbeat
from be_queue.worker.settings import Settings
from be_queue.worker.web.health import TIMEOUT_SECONDS, Check, faults, not_consuming, stuck

__all__ = ['Pages', 'add_headers']

T = TypeVar('T')

#: An open page looks again so often.
REFRESH_SECONDS = 3


class Pages:
    """The surroundings of the pages.

    Arguments:
        servers: their faults are shown on every page.
    """

    def __init__(self, config: Settings, servers: Sequence[Check]) -> None:
        self._config = config
        self._servers = servers

    def faults(self, *checks: Check, timeout: float = TIMEOUT_SECONDS) -> dict[str, str | None]:
        """Return the faults of these checks, and of the servers, which run beside them."""
        g.faults = faults([*self._servers, *checks], timeout)
        found: dict[str, str | None] = g.faults
        return found

    def read(
        self, query: Callable[[], T], timeout: float = TIMEOUT_SECONDS
    ) -> tuple[T | None, str | None]:
        """Return what a query returns, or why it has no answer within ``timeout`` seconds."""
        answers: list[T] = []
        check = Check('query', lambda: answers.append(query()))
        fault = self.faults(check, timeout=timeout)[check.name]
        return (None, fault) if fault else (answers[0], None)

    def context(self) -> dict[str, Any]:
        """Return the variables of ``base.html``."""
        config = self._config
        return {
            'service': config.service_name,
            'env': config.env,
            'refresh': REFRESH_SECONDS,
            'lights': self._lights,
        }

    def _lights(self) -> dict[str, Any]:
        """Return the state of the worker and of the servers; only when a page shows them."""
        beat = heartbeat.read(self._config.heartbeat_path)
        state = beat.state.value if beat else 'not started'
        if beat and stuck(beat):
            state = 'stuck'
        found = g.faults if 'faults' in g else self.faults()
        return {
            'beat': beat,
            'worker_state': state,
            'worker_fault': not_consuming(beat),
            'passing': state in ('not started', 'starting', 'stopping'),
            'servers': {check.name: found[check.name] for check in self._servers},
        }


def add_headers(answer: Response) -> Response:
    """Keep a page out of frames and caches, and scripts of strangers out of it."""
    # Were a task's name or result ever to get through as markup, it still could do nothing.
    answer.headers['Content-Security-Policy'] = (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    answer.headers['Cache-Control'] = 'no-store'
    return answer
