"""Keeps the depths of all queues, asked for by one thread and by whoever looks at the dashboard."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.web.depths.asking import Answer, Depth, QueueError
from be_queue.outage import CHECK_SQS, Outage

__all__ = ['MAX_AGE', 'DepthPoller', 'Figures']

logger = logging.getLogger(__name__)

#: Seconds after which a depth is no longer worth showing to somebody who looks.
MAX_AGE = 15.0
#: Seconds for which the depths are not asked for again, however many look.
FRESHNESS = 5.0


@dataclass(frozen=True)
class Figures:
    """What is known of a queue.

    Arguments:
        depth: as of the last answer; None before the first.
        age: seconds since it was asked for; before the first answer, since the start.
        errors: times that the broker was asked about the queue and its dead-letter queue in vain.
    """

    depth: Depth | None
    age: float
    errors: int


class DepthPoller:
    """Asks about one queue after the other; what goes wrong is logged once.

    Arguments:
        ask: returns the answer about a queue, by its name; see `Asker`.
        queues: their names.
    """

    def __init__(self, ask: Callable[[str], Answer], queues: Sequence[str]) -> None:
        self._ask = ask
        self._queues = tuple(queues)
        self._asking = threading.Lock()
        self._started = time.monotonic()
        self._asked_at = float('-inf')
        self._depths: dict[str, tuple[Depth, float]] = {}
        self._errors = dict.fromkeys(self._queues, 0)
        self._faults: set[str] = set()
        self._outage = Outage('SQS (asked for the depths of queues)', hint=CHECK_SQS)

    def poll(self) -> None:
        """Ask about all queues."""
        with self._asking:
            self._poll()

    def refresh(self) -> None:
        """Ask about all queues, unless that was done just now."""
        with self._asking:
            if time.monotonic() - self._asked_at >= FRESHNESS:
                self._poll()

    def figures(self) -> Mapping[str, Figures]:
        """Return what is known of each queue; does not wait for an answer that is due."""
        now = time.monotonic()
        found = {}
        for queue in self._queues:
            depth, asked_at = self._depths.get(queue, (None, self._started))
            found[queue] = Figures(depth, now - asked_at, self._errors[queue])
        return found

    def depth(self, queue: str) -> Depth | None:
        """Return the depth of a queue; None when it is not known, or was asked for long ago."""
        depth, asked_at = self._depths.get(queue, (None, 0.0))
        return depth if time.monotonic() - asked_at < MAX_AGE else None

    def _poll(self) -> None:
        faults: set[str] = set()
        left = list(self._queues)
        try:
            while left:
                faults |= self._ask_about(left[0])
                del left[0]
        except Exception as error:  # noqa: BLE001  (each transport has exceptions of its own)
            # No use to ask about the others: each would wait as long.
            for queue in left:
                self._errors[queue] += 1
            self._outage.failed(error)
        else:
            self._outage.ended()
            self._log(faults)
        self._asked_at = time.monotonic()

    def _ask_about(self, queue: str) -> set[str]:
        """Return what is wrong with the queue, or with its dead-letter queue."""
        asked_at = time.monotonic()
        try:
            answer = self._ask(queue)
        except QueueError as error:
            fault: str | None = str(error)
        else:
            fault = answer.fault
            self._depths[queue] = answer.depth, asked_at
        if fault is None:
            return set()
        self._errors[queue] += 1
        return {fault}

    def _log(self, faults: set[str]) -> None:
        if news := sorted(faults - self._faults):
            logger.warning('depths of queues are not known: %s', '; '.join(news))
        if mended := sorted(self._faults - faults):
            logger.warning('depths of queues are known again, after: %s', '; '.join(mended))
        self._faults = faults
