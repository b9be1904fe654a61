"""Every fault of SQS, for each kind of call, under load: no exit, no stall, no task lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from be_queue.testing.proxy import Proxy
from be_queue.testing.waiting import wait_until
from tests.soak.table import Row
from tests.support import faulty
from tests.support.counted import Counted, Tally
from tests.support.faulty import Fault, FaultySqs
from tests.support.worker import Server

__all__ = ['CALLS', 'FAULTS', 'OUTAGE', 'Busy', 'Trial', 'busy', 'faulted']

FAULTS: Mapping[str, Fault] = {
    '503': faulty.status(503, 'ServiceUnavailable'),
    '500': faulty.status(500, 'InternalError'),
    '403': faulty.status(403, 'AccessDeniedException'),
    '429': faulty.status(429, 'RequestThrottled'),
    'throttled': faulty.status(400, 'RequestThrottled'),
    'not JSON': faulty.not_json,
    'reset': faulty.reset,
    'truncated': faulty.truncated,
    'no answer': faulty.no_answer,
    'answer after 5 s': faulty.slow(5.0),
    'done, but reset': faulty.answer_lost,
    'done, but cut short': faulty.answer_cut_short,
}
CALLS: Mapping[str, tuple[str, ...]] = {
    'receive': faulty.RECEIVE,
    'delete': faulty.DELETE,
    'send': faulty.SEND,
    'visibility': faulty.VISIBILITY,
}
OUTAGE = 'unreachable'
#: Seconds that each task takes: children set the rate, whatever else the machine does.
TASK = 0.02
BACKLOG = 300
#: The part of the rate before that counts as the full rate: windows of a second differ.
FULL = 0.7


@dataclass(frozen=True)
class Trial:
    """What a fault did.

    Arguments:
        before: tasks per second before it.
        recovery: seconds from its end to the rate before; None when that was not seen.
        in_flight: the most messages that were received and not deleted meanwhile; and where sends
            failed, all of them: SQS may have taken a message, and takes it again.
        row: its line of the table.
    """

    before: float
    recovery: float | None
    in_flight: int
    row: Row


class Busy:
    """A worker under load behind a proxy that makes calls fail."""

    def __init__(self, counted: Counted, server: Server, proxy: FaultySqs, line: Proxy) -> None:
        self.counted, self.server, self.proxy, self.line = counted, server, proxy, line

    def make(self, call: str, fault: str) -> None:
        """Have calls fail."""
        if fault == OUTAGE:
            self.line.cut()
        else:
            for operation in CALLS[call]:
                self.proxy.fail(operation, FAULTS[fault])

    def repair(self) -> None:
        """Have everything work again."""
        self.proxy.repair()
        self.line.restore()


@contextmanager
def busy(counted: Counted, visibility_timeout: int, children: int = 4) -> Iterator[Busy]:
    """Run the server under load; at the end wait for every task to run.

    Arguments:
        visibility_timeout: in seconds; messages whose receipt got lost come back after it.
        children: of the worker; they set the rate.
    """
    with faulty.faulty_sqs(counted.sqs.port) as proxy:
        line = Proxy(('127.0.0.1', proxy.port))
        url = f'http://test:test@127.0.0.1:{line.port}'
        variables = {
            'CELERY_WORKER_CONCURRENCY': children,
            'CELERY_BROKER_TRANSPORT_OPTIONS': {
                'visibility_timeout': visibility_timeout,
                'wait_time_seconds': 1,
            },
            'SQS_ENDPOINT_URL': url,
        }
        with counted.server(**variables) as server:
            worker = server.pid_of('celery')
            with counted.kept_busy(BACKLOG, TASK, url):
                wait_until(lambda: counted.ended() > BACKLOG, 'it works')
                yield Busy(counted, server, proxy, line)
            # What does not come is counted as lost.
            with suppress(AssertionError):
                counted.wait_all_run(timeout=max(60, 4 * visibility_timeout))
            assert server.process.poll() is None, 'the server has ended'
            assert server.pid_of('celery') == worker, 'the worker has ended'
        line.cut()


def faulted(
    load: Busy, call: str, fault: str, seconds: float, patience: float, window: float = 2.0
) -> Trial:
    """Have a fault for some seconds; measure how the worker comes back.

    Arguments:
        call: a key of `CALLS`; does not matter to an outage.
        patience: seconds to wait for the rate before.
        window: seconds over which rates are taken.
    """
    counted = load.counted
    earlier = counted.tally()
    before = _settled_rate(counted, window)
    sends = _sends(load)
    load.make(call, fault)
    most = _most_in_flight(counted, until=time.monotonic() + seconds)
    load.repair()
    healed = time.time()
    sends = _sends(load) - sends if call == 'send' else 0

    def is_back() -> bool:
        now = time.time()
        return now >= healed + 0.5 and counted.rate(now, 0.5) >= FULL * before

    recovery = _seconds_until(is_back, patience)
    most = max(most, counted.sqs.in_flight(counted.queue)) + sends
    tally = _difference(earlier, counted.tally())
    what = fault if fault == OUTAGE else f'{call}: {fault}'
    back = 'NOT BACK' if recovery is None else f'back after {recovery:.1f} s'
    note = f'{before:.0f}/s before, {back}'
    return Trial(before, recovery, most, Row(f'{what}, {seconds:.0f} s', tally, most, note))


def _sends(load: Busy) -> int:
    return sum(load.proxy.requests[operation] for operation in faulty.SEND)


def _settled_rate(counted: Counted, window: float) -> float:
    """Return the rate once a window has passed, without what the last fault left."""
    started = time.time()
    wait_until(lambda: time.time() >= started + window, 'a window has passed')
    return counted.rate(time.time(), window)


def _most_in_flight(counted: Counted, until: float) -> int:
    most = 0

    def over() -> bool:
        nonlocal most
        most = max(most, counted.sqs.in_flight(counted.queue))
        return time.monotonic() >= until

    wait_until(over, 'the fault is over', timeout=until - time.monotonic() + 30)
    return most


def _seconds_until(condition: Callable[[], bool], patience: float) -> float | None:
    started = time.monotonic()
    try:
        wait_until(condition, 'it is back', patience)
    except AssertionError:
        return None
    return time.monotonic() - started


def _difference(earlier: Tally, later: Tally) -> Tally:
    """Return what was counted meanwhile; tasks on their way are not lost."""
    return Tally(
        sent=later.sent - earlier.sent,
        refused=later.refused - earlier.refused,
        run=later.run - earlier.run,
        duplicates=later.duplicates - earlier.duplicates,
        cut_short=0,
        lost=0,
        dead=later.dead - earlier.dead,
    )
