"""A message published around the SIGTERM of an idle worker: how long it is hidden from others."""

from __future__ import annotations

import random
import signal
import threading
import time
from dataclasses import dataclass

from be_queue.testing.waiting import POLL_INTERVAL, wait_until
from tests.support.counted import Counted

__all__ = ['EARLY', 'LATE', 'Hidden', 'hidden', 'summary']

#: Seconds from the SIGTERM to the message.
EARLY, LATE = -0.3, 1.0


@dataclass(frozen=True)
class Hidden:
    """One trial.

    Arguments:
        offset: seconds from the SIGTERM to the message.
        seconds: from the message to the moment from which on it was to be had, or done.
        outcome: ``done`` by the worker, or ``visible`` to others.
        stop: seconds from the SIGTERM to the end of the worker.
    """

    offset: float
    seconds: float
    outcome: str
    stop: float


def hidden(counted: Counted, patience: float) -> Hidden:
    """Run one trial with an idle worker of the default settings.

    Arguments:
        patience: seconds to wait for the message; longer than the visibility timeout.
    """
    offset = random.uniform(EARLY, LATE)
    with counted.worker() as worker, counted.sender() as send, _Watched(counted) as watched:
        times: dict[str, float] = {}

        def publish() -> None:
            send()
            times['sent'] = time.monotonic()

        def stop() -> None:
            times['told'] = time.monotonic()
            worker.signal(signal.SIGTERM)

        first, second = (publish, stop) if offset < 0 else (stop, publish)
        first()
        at = time.monotonic() + abs(offset)
        wait_until(lambda: time.monotonic() >= at, 'it is time')
        second()
        worker.wait_ended(timeout=120)
        ended = time.monotonic()
        wait_until(lambda: watched.outcome, 'the message is done or visible', patience)
        return Hidden(
            offset=times['sent'] - times['told'],
            seconds=max(0.0, watched.since - times['sent']),
            outcome=watched.outcome,
            stop=ended - times['told'],
        )


class _Watched(threading.Thread):
    """Looks at the queue all the time; ``outcome`` holds since ``since``."""

    def __init__(self, counted: Counted) -> None:
        super().__init__(daemon=True)
        self.outcome, self.since = '', 0.0
        self._counted = counted
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(POLL_INTERVAL):
            outcome = self._look()
            if outcome != self.outcome:
                self.outcome, self.since = outcome, time.monotonic()

    def __enter__(self) -> _Watched:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def _look(self) -> str:
        if self._counted.sent and self._counted.ended() == len(self._counted.sent):
            return 'done'
        return 'visible' if self._counted.sqs.visible(self._counted.queue) else ''


def summary(trials: list[Hidden]) -> str:
    """Return how long messages were hidden, and how long the worker took to end."""
    done = sum(trial.outcome == 'done' for trial in trials)
    lines = [f'{len(trials)} messages around a SIGTERM{"":8}p50      p90      p99      max']
    for what, values in (
        (f'until done ({done}) or visible', sorted(trial.seconds for trial in trials)),
        ('until the worker has ended', sorted(trial.stop for trial in trials)),
    ):
        shown = [values[min(len(values) - 1, int(part * len(values)))] for part in (0.5, 0.9, 0.99)]
        lines.append(f'{what:32}' + ''.join(f'{value:>7.2f} s' for value in (*shown, values[-1])))
    return '\n'.join(lines)
