"""Messages that are held for longer than their visibility timeout: each task runs exactly once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from be_queue.testing.waiting import wait_until
from tests.soak.table import Row
from tests.support.counted import TRANSPORT, Counted
from tests.support.own_tasks import FIFO_QUEUE
from tests.support.own_worker import own_worker

__all__ = ['FORMS', 'Form', 'held', 'held_on_fifo']

#: Times the visibility timeout.
LONG = 4


@dataclass(frozen=True)
class Form:
    """One way to hold messages.

    Arguments:
        what: what it is called.
        send: sends tasks, given the visibility timeout; they take four times as long, or wait.
        variables: the worker's settings.
        options: of its transport.
    """

    what: str
    send: Callable[[Counted, float], None]
    variables: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def _long_task(counted: Counted, timeout: float) -> None:
    counted.send(2, LONG * timeout)


def _long_eta(counted: Counted, timeout: float) -> None:
    counted.send(4, countdown=LONG * timeout)


def _prefetched(counted: Counted, timeout: float) -> None:
    # One child: the worker prefetches after the first task, and the last one waits for three.
    counted.send(LONG + 1, timeout)


FORMS: dict[str, Form] = {
    'long task': Form('task of 4 x the visibility timeout', _long_task),
    'long eta': Form('countdown of 4 x the visibility timeout', _long_eta),
    'prefetched': Form(
        'waiting for a child as long',
        _prefetched,
        {'CELERY_WORKER_CONCURRENCY': 1},
        {'prefetch_seconds': 1000, 'hand_back_seconds': 1000},
    ),
}


def held(counted: Counted, form: Form, timeout: int, *, others: bool = True) -> Row:
    """Have tasks held; return what became of them.

    Arguments:
        timeout: the visibility timeout, in seconds.
        others: have another worker look on, which would run what comes back.
    """
    options = {'visibility_timeout': timeout, 'wait_time_seconds': 1, **form.options}
    variables = {'CELERY_BROKER_TRANSPORT_OPTIONS': options, **form.variables}
    with counted.worker(**variables):
        form.send(counted, timeout)
        wait_until(lambda: counted.sqs.visible(counted.queue) == 0, 'the worker has them')
        if others:
            with counted.worker(**variables):
                counted.wait_all_run(timeout=60 + 3 * LONG * timeout)
        else:
            counted.wait_all_run(timeout=60 + 3 * LONG * timeout)
    return Row(form.what, counted.tally(), bound=0)


def held_on_fifo(counted: Counted, timeout: int) -> Row:
    """Have tasks of a FIFO queue, which knows no delay of a message, wait for their time.

    Arguments:
        timeout: the visibility timeout, in seconds.
    """
    counted.queue = f'{counted.site.username}-local-{FIFO_QUEUE}'
    variables = {
        'CELERY_BROKER_TRANSPORT': TRANSPORT,
        'CELERY_BROKER_TRANSPORT_OPTIONS': {'visibility_timeout': timeout, 'wait_time_seconds': 1},
        'RUNS_FILE': counted.runs.path,
    }
    with own_worker(counted.site, **variables), own_worker(counted.site, **variables):
        # Of a group of their own each: SQS delivers but one of a group at a time.
        for number in range(4):
            counted.send(1, countdown=LONG * timeout, MessageGroupId=str(number))
        counted.wait_all_run(timeout=60 + 3 * LONG * timeout)
    return Row('countdown as long, FIFO', counted.tally(), bound=0)
