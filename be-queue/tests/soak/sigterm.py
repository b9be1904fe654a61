"""A message published around the SIGTERM of an idle worker: how long it is hidden from others."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    with counted.server() as server, counted.sender() as send, _watched(counted) as outcome:
        times: dict[str, float] = {}

        def publish() -> None:
            send()
            times['sent'] = time.monotonic()

        def stop() -> None:
            times['told'] = time.monotonic()
            server.signal(signal.SIGTERM)

        first, second = (publish, stop) if offset < 0 else (stop, publish)
        first()
        at = time.monotonic() + abs(offset)
        wait_until(lambda: time.monotonic() >= at, 'it is time')
        second()
        server.wait_ended(timeout=120)
        ended = time.monotonic()
        wait_until(lambda: outcome.what, 'the message is done or visible', patience)
        return Hidden(
            offset=times['sent'] - times['told'],
            seconds=max(0.0, outcome.since - times['sent']),
            outcome=outcome.what,
            stop=ended - times['told'],
        )


@dataclass
class _Outcome:
    what: str = ''
    since: float = 0.0


@contextmanager
def _watched(counted: Counted) -> Iterator[_Outcome]:
    """Look at the queue all the time; the outcome holds from a moment on."""
    outcome = _Outcome()
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL_INTERVAL):
            done = bool(counted.sent) and counted.ended() == len(counted.sent)
            what = 'done' if done else ''
            if not done and counted.sqs.visible(counted.queue):
                what = 'visible'
            if what != outcome.what:
                outcome.what, outcome.since = what, time.monotonic()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield outcome
    finally:
        over.set()
        thread.join()


def summary(trials: list[Hidden]) -> str:
    """Return how long messages were hidden, and how long the worker took to end."""
    lines = [f'{len(trials)} messages around a SIGTERM{"":8}p50      p90      p99      max']
    done = sum(trial.outcome == 'done' for trial in trials)
    for what, values in (
        (f'until done ({done}) or visible', [trial.seconds for trial in trials]),
        ('until the worker has ended', [trial.stop for trial in trials]),
    ):
        parts = [_percentile(values, part) for part in (0.5, 0.9, 0.99, 1.0)]
        lines.append(f'{what:32}' + ''.join(f'{value:>7.2f} s' for value in parts))
    return '\n'.join(lines)


def _percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
