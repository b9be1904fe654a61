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


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Arguments:
        check: what was looked at.
        fault: what is wrong and how to fix it; '' when nothing is.
    """

    check: str
    fault: str = ''


def examine(app: Celery) -> Iterator[Finding]:
    """Yield the outcome of each check of an app; nothing is changed.

    It does not check the rights to send, receive and delete: that would need a message.
    """
    try:
        known = queues(app)
        yield _clock(known[0])
    except ERRORS as error:
        yield Finding('SQS', f'{brief(error)}: check {CHECK_SQS}')
    else:
        for queue in known:
            yield from _queue(queue)
    yield _results(app)


def _clock(queue: ManagedQueue) -> Finding:
    skew = queue.clock_skew()
    if abs(skew) < MAX_SKEW_SECONDS:
        return Finding('SQS')
    return Finding(
        'clock',
        f'this machine is {abs(skew):.0f} s {"ahead of" if skew > 0 else "behind"} SQS, which '
        'refuses requests that are five minutes off: synchronize its clock (NTP)',
    )


def _queue(queue: ManagedQueue) -> Iterator[Finding]:
    try:
        faults = [*queue.differences(), *_depth(queue)]
    except ERRORS as error:
        faults = [brief(error)]
    for fault in faults:
        yield Finding(queue.name, fault)
    if not faults:
        yield Finding(queue.name)


def _depth(queue: ManagedQueue) -> Iterator[str]:
    depth = queue.depth()
    if depth is None:
        return  # one of the differences
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
