"""The parts of every page: the health lights, and reads that end within a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from flask import g

from be_queue.worker import heartbeat
from be_queue.worker.history import Task
from be_queue.worker.settings import Settings
from be_queue.worker.web.health import Check, faults, not_consuming, stuck

__all__ = ['Pages', 'Read']

T = TypeVar('T')

#: The longest wait for a query, of somebody who has asked for just that.
TIMEOUT_SECONDS = 5.0
#: An open page looks again so often.
REFRESH_SECONDS = 3


class Read(Check, Generic[T]):
    """A check that keeps what its query last returned.

    Arguments:
        value: until then.
    """

    def __init__(self, name: str, query: Callable[[], T], value: T) -> None:
        super().__init__(name, self._read)
        self.value = value
        self._query = query

    def _read(self) -> None:
        self.value = self._query()


class Pages:
    """The surroundings of the pages.

    Arguments:
        servers: every page shows their faults.
    """

    def __init__(self, config: Settings, servers: Sequence[Check]) -> None:
        self._config = config
        self._servers = servers

    def faults(self, *checks: Check) -> dict[str, str | None]:
        """Return the faults of these checks and of the servers, within a second."""
        g.faults = found = faults([*self._servers, *checks])
        return found

    def read(self, query: Callable[[], T], server: str) -> tuple[T | None, str | None]:
        """Return a query's value, or None and why it has none.

        Arguments:
            server: the name of the server that it asks. While that has a fault, the query gets a
                second to answer, else `TIMEOUT_SECONDS`.
        """
        read: Read[T | None] = Read('query', query, None)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        found = self.faults(read)
        fault = found[read.name]
        if not found.get(server):
            fault = read.fault(deadline)
        return read.value, fault

    def shown(self, tasks: list[Task]) -> list[Task]:
        """Return tasks without what DASHBOARD_ARGUMENTS hides."""
        if self._config.dashboard_arguments:
            return tasks
        return [replace(task, args='', kwargs='', result='', traceback='') for task in tasks]

    def context(self) -> dict[str, Any]:
        """Return the variables of the templates."""
        config = self._config
        return {
            'service': config.service_name,
            'env': config.env,
            'refresh': REFRESH_SECONDS,
            'hides_arguments': not config.dashboard_arguments,
            'lights': self._lights,
        }

    def _lights(self) -> dict[str, Any]:
        """Return the state of the worker and of the servers, for ``base.html``."""
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
