"""Checks an app's connection to SQS, its queues and its results: a line each, with the fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from celery import Celery
from celery.backends.base import DisabledBackend

from be_queue.operations import ManagedQueue, queues
from be_queue.outage import CHECK_RESULT_DB, CHECK_SQS, brief
from be_queue.transport.sqs_errors import ERRORS

__all__ = ['Finding', 'examine']

#: AWS refuses a request that is signed five minutes early or late.
MAX_SKEW_SECONDS = 60.0
RIGHTS_NOTE = (
    'SQS was asked with requests that move no message; it may refuse a real one all the same'
)


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Arguments:
        check: what was looked at.
        fault: what is wrong and how to fix it; '' when nothing is.
        note: what the check cannot tell.
    """

    check: str
    fault: str = ''
    note: str = ''


def examine(app: Celery) -> Iterator[Finding]:
    """Yield the outcome of each check of an app; nothing is changed.

    Its configuration may have checks of its own, as a worker's has: a method ``checks(app)``.
    """
    own_checks = getattr(app.conf, 'checks', None)
    try:
        known = queues(app)
        yield _clock(known[0])
    except ERRORS as error:
        yield Finding('SQS', f'{brief(error)}: check {CHECK_SQS}')
    else:
        for queue in known:
            # A producer may have a mapping that says who consumes what, and receives nothing.
            yield from _queue(queue, receives=bool(own_checks) and queue.is_consumed)
        yield Finding('rights', note=RIGHTS_NOTE)
    yield _results(app)
    if own_checks:
        yield from own_checks(app)


def _clock(queue: ManagedQueue) -> Finding:
    skew = queue.clock_skew()
    if abs(skew) < MAX_SKEW_SECONDS:
        return Finding('SQS')
    return Finding(
        'clock',
        f'this machine is {abs(skew):.0f} s {"ahead of" if skew > 0 else "behind"} SQS, which '
        'refuses requests that are five minutes off: synchronize its clock (NTP)',
    )


def _queue(queue: ManagedQueue, *, receives: bool) -> Iterator[Finding]:
    try:
        faults = [*queue.differences(), *_depth(queue, receives=receives)]
    except ERRORS as error:
        faults = [brief(error)]
    for fault in faults:
        yield Finding(queue.name, fault)
    if not faults:
        yield Finding(queue.name)


def _depth(queue: ManagedQueue, *, receives: bool) -> Iterator[str]:
    depth = queue.depth()
    if depth is None:
        return  # one of the differences
    if denied := queue.denied(receives=receives):
        actions = ', '.join(f'sqs:{action}' for action in denied)
        yield f'SQS refuses {actions} to these credentials: add that to their policy'
    if depth.dead_letters:
        yield f'{depth.dead_letters:,} dead letters: be-queue peek {queue.name} shows why'
    if depth.visible and not depth.in_flight:
        who = 'the monitor' if queue.gets_copies else 'a worker'
        yield (
            f'{depth.visible:,} messages wait and none is in flight: start {who} to consume the '
            'queue, unless a rate limit holds it back'
        )


def _results(app: Celery) -> Finding:
    if isinstance(app.backend, DisabledBackend):
        return Finding('result backend', 'results are switched off: set result_backend')
    try:
        app.backend.always_retry = False
        app.backend.get_task_meta('be-queue doctor', cache=False)  # there is no such task
    except Exception as error:  # noqa: BLE001  (each backend has exceptions of its own)
        return Finding('result backend', f'{brief(error)}: check {CHECK_RESULT_DB}')
    return Finding('result backend')
