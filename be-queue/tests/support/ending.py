"""Tasks that end in other ways than those of the template, for its ``celery`` queue."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import shared_task
from celery.exceptions import Ignore, Reject, WorkerShutdown

from app.tasks.base_task import FixedDelayTask, NoRetryTask

#: For the variables of `tests.support.worker.Site.server`.
IMPORTS = {'CELERY_IMPORTS': ('tests.support.ending',)}

ALLOCATES = 'tests.allocates'
BESIDE = 'tests.beside'
ENDS = 'tests.ends'
ENDS_AND_RETRIES = 'tests.ends_and_retries'
EXITS_ONCE = 'tests.exits_once'
IGNORED = 'tests.ignored'
REJECTED = 'tests.rejected'
RETRIES_LATER = 'tests.retries_later'

#: Characters of a result.
HUGE = 5_000_000


@shared_task(base=NoRetryTask, name=EXITS_ONCE)
def exits_once(marker: str) -> str:
    """End the process, unless that has been done: there is a file ``marker`` then."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return 'done'
    os._exit(3)


@shared_task(base=NoRetryTask, name=ALLOCATES)
def allocates(mebibytes: int) -> int:
    """Take so much memory for a moment; return how much."""
    return len(b'x' * (mebibytes << 20)) >> 20


@shared_task(base=NoRetryTask, name=IGNORED)
def ignored() -> None:
    """Want no result."""
    raise Ignore


@shared_task(base=NoRetryTask, name=REJECTED)
def rejected() -> None:
    """Have the message moved to the dead-letter queue."""
    raise Reject('on purpose', requeue=False)


class ServiceError(Exception):
    """As those of many services: made of other arguments than its ``args``."""

    def __init__(self, service: str, code: int) -> None:
        super().__init__(f'{service}-{code}')


class SilentError(Exception):
    """Has no ``args``, and its text is made of a field."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class PanicError(BaseException):
    """As those of libraries in Rust: no Exception, and not to be made anew either."""

    def __init__(self, reason: str, place: int) -> None:
        super().__init__(f'{reason}-{place}')


class UnpicklableError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError('not to be pickled')


class ForeignError(Exception):
    """Can be made anew in its own process only, as one of a module that nobody else finds."""

    def __reduce__(self) -> Any:
        return _made_anew, (os.getpid(),)


class AllocationError(MemoryError):
    """As NumPy's."""

    def __init__(self, shape: int, kind: str) -> None:
        super().__init__(f'Unable to allocate {shape} of {kind}')


def _made_anew(pid: int) -> ForeignError:
    if pid != os.getpid():
        raise ImportError('not found')
    return ForeignError()


def _raise(error: BaseException) -> NoReturn:
    raise error


def _local() -> NoReturn:
    class LocalError(Exception): ...

    raise LocalError('nowhere')


def _recursion() -> Any:
    return _recursion()


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def _signalled(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


#: Ways in which a task may end.
WAYS: dict[str, Callable[[], Any]] = {
    'memory': lambda: _raise(MemoryError('too much')),
    'allocation': lambda: _raise(AllocationError(5, 'float64')),
    'exit': lambda: sys.exit(3),
    'cancelled': lambda: _raise(asyncio.CancelledError('cancelled')),
    'panic': lambda: _raise(PanicError('index', 7)),
    'worker shutdown': lambda: _raise(WorkerShutdown(0)),
    'worker lost': lambda: _raise(WorkerLostError('lost')),
    'time limit': lambda: _raise(TimeLimitExceeded(5)),
    'recursion': _recursion,
    'arguments': lambda: _raise(ServiceError('s3', 404)),
    'no arguments': lambda: _raise(SilentError(reason='a field')),
    'no pickle': lambda: _raise(UnpicklableError('a text')),
    'foreign': lambda: _raise(ForeignError('a text')),
    'local': _local,
    'surrogate': lambda: _raise(RuntimeError('half \ud800 of a pair\0')),
    'no json': object,
    'deep': _deep,
    'sleep': lambda: time.sleep(500),
    'handler': lambda: signal.getsignal(signal.SIGUSR1).__module__,
    'huge': lambda: 'x' * HUGE,
    'rejected': lambda: _raise(Reject(ForeignError('a text'), requeue=False)),
    'ignored': lambda: _raise(Ignore(ForeignError('a text'))),
    'process exit': lambda: os._exit(3),
    'kill': lambda: _signalled(signal.SIGKILL),
    'term': lambda: _signalled(signal.SIGTERM),
}


@shared_task(name=ENDS)
def ends(way: str) -> Any:
    """End in one of the `WAYS`; the task has Celery's own base class."""
    return WAYS[way]()


@shared_task(base=FixedDelayTask, name=ENDS_AND_RETRIES, default_retry_delay=0, max_retries=1)
def ends_and_retries(way: str) -> Any:
    """As `ends`, with a second attempt."""
    return WAYS[way]()


@shared_task(base=FixedDelayTask, name=RETRIES_LATER, default_retry_delay=600)
def retries_later() -> None:
    """Be retried after the test."""
    raise ServiceError('s3', 503)


@shared_task(base=NoRetryTask, name=BESIDE)
def beside(marks: str, end: str) -> int:
    """Add a line to the file ``marks``, and run until there is a file ``end``."""
    with Path(marks).open('a') as file:
        file.write('ran\n')
    while not Path(end).exists():
        time.sleep(0.05)
    return os.getpid()
