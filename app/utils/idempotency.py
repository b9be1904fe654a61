"""Skips a message whose task runs already or has run: off until IDEMPOTENCY_GUARD is set.

SQS may deliver a message twice, and a sender may send it twice. What tells that it is the same
task is the task id. Each delivery takes a lock of that id in the result database, looks for the
result, and keeps the lock until its own result is stored:

| it finds                                   | and then                                           |
|--------------------------------------------|----------------------------------------------------|
| the result of this attempt or a later one  | is skipped: its message is deleted, nothing is run |
|                                            | or stored, no callback sent                        |
| the lock is taken: the task runs elsewhere | waits, see `LOCK_PART`, and then goes back to its  |
|                                            | queue: the message must not be lost with that run  |
| the database is unavailable                | waits, as results do, and then goes back too     |
| anything else                              | runs                                               |

Success, failure and revocation are results, and so is RETRY, for the attempt that asked for the
retry: the retry itself has the same id and a higher number. A failure that is not acknowledged
(``acks_on_failure``, ``acks_on_timeout``) is none. STARTED without a lock is what a process leaves
that was killed, so the task runs again. A task that ignores its result is only kept from running
twice at the same time.

The lock is PostgreSQL's advisory lock of a session, on a connection that each pool process keeps
for it: it ends with the process, whatever ends that. Two cases stay: a run whose connection is
lost goes on without its lock, and error callbacks, which Celery sends after it has stored the
failure, are not made up for when the process is killed between the two.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from celery import Celery, Task, signals, states
from celery.exceptions import Reject
from celery.utils.dispatch import Signal
from celery.utils.log import get_logger
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from app.utils import logs, shutdown, soft_time_limit, vault
from app.utils.result_store import WAIT_PART
from be_queue import SettingError
from be_queue.outage import CHECK_RESULT_DB, Outage
from be_queue.redact import redact

__all__ = ['KEEPALIVES', 'LOCK_PART', 'Guard', 'install', 'lock_key', 'not_run']

logger = get_logger(__name__)

#: The part of a task's shorter time limit that it waits for another run of it. Should that run
#: die, the task has the rest. Each wait costs a receive of the message: four waits, as many as
#: are left when a queue gives five receives before the dead-letter queue, outlast any run.
LOCK_PART = 0.3
#: Seconds between two tries to get the lock: the first, which doubles, and the last.
FIRST_PAUSE = 0.05
LAST_PAUSE = 1.0
#: States that mean that the attempt which stored them is over.
OVER = states.READY_STATES | {states.RETRY}
#: Seconds after which PostgreSQL asks whether the worker's machine is alive, between two such
#: questions, and how many may stay without an answer. By default it asks after two hours, and
#: keeps the locks of a machine that has lost its power until then.
KEEPALIVES = {'tcp_keepalives_idle': 10, 'tcp_keepalives_interval': 5, 'tcp_keepalives_count': 4}

#: Sent with the task as sender, its request and a state: IGNORED when the message was skipped,
#: REJECTED when it goes back to its queue.
not_run = Signal(name='not_run', providing_args={'request', 'state'})

Trace = Callable[..., Any]


def install(app: Celery) -> None:
    """Have the pool processes of the app's worker guard every task.

    Raises `SettingError` when results are not kept where the guard can look for them.
    """
    backend = str(app.conf.result_backend)
    if not backend.startswith('db+postgresql'):
        raise SettingError(
            f'IDEMPOTENCY_GUARD=true: the guard needs results in PostgreSQL, and they are in '
            f'{redact(backend)!r}: set RESULT_DB_HOST (and unset CELERY_RESULT_BACKEND), or set '
            'IDEMPOTENCY_GUARD=false'
        )
    if not app.conf.result_extended:
        raise SettingError(
            'IDEMPOTENCY_GUARD=true: the guard needs the number of the attempt with each result: '
            'set CELERY_RESULT_EXTENDED=true, or IDEMPOTENCY_GUARD=false'
        )
    signals.worker_process_init.connect(partial(_process_started, app), weak=False)


def _process_started(app: Celery, **_: Any) -> None:
    guard = Guard(app)
    for task in app.tasks.values():
        # Around all that Celery does for a task: STARTED is stored before the task is called, and
        # would replace a failure; the result is stored after it has returned.
        task.__trace__ = guard.around(task, task.__trace__)


def lock_key(task_id: str) -> int:
    """Return the number under which PostgreSQL knows the lock of a task: 64 bits, signed."""
    digest = hashlib.blake2b(task_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'big', signed=True)


class Guard:
    """The locks of one process, which runs one task at a time.

    Arguments:
        app: keeps its results in PostgreSQL.
    """

    def __init__(self, app: Celery) -> None:
        self._backend: Any = app.backend
        self._outage = Outage("the idempotency guard's result database", hint=CHECK_RESULT_DB)
        self._connection: Connection | None = None

    def around(self, task: Task, trace: Trace) -> Trace:
        """Return ``trace``, the function that runs the task, with the guard before it."""

        def guarded(
            uuid: str, args: Any, kwargs: Any, request: Mapping[str, Any] | None = None
        ) -> Any:
            request = request or {}
            # The time limit counts already.
            soft_time_limit.hold_off()
            with self._locked(task, uuid, request) as over:
                if not over:
                    return trace(uuid, args, kwargs, request)
                with logs.about(task, request):
                    logger.info('skipped, it is %s already', over, extra={'action': 'skipped'})
                not_run.send(sender=task, request=request, state=states.IGNORED)
                return None, None, None, None  # nothing was returned, and in no time

        return guarded

    @contextlib.contextmanager
    def _locked(self, task: Task, task_id: str, request: Mapping[str, Any]) -> Iterator[str | None]:
        """Hold the task's lock; give the state that makes a run superfluous, or None.

        Raises Reject, which hands the message back, when the lock cannot be had in time.
        """
        key = lock_key(task_id)
        over = self._wait_for_lock(key, task, task_id, request)
        try:
            yield over
        finally:
            if self._connection is not None:
                try:
                    self._connection.execute(select(func.pg_advisory_unlock(key)))
                except SQLAlchemyError:
                    self._disconnect()  # and the lock is gone with the connection

    def _wait_for_lock(
        self, key: int, task: Task, task_id: str, request: Mapping[str, Any]
    ) -> str | None:
        hard, shorter = _time_limits(task, request)
        began = time.monotonic()
        pause = FIRST_PAUSE
        while True:
            asked_at = time.monotonic()
            try:
                connection = self._connected()
                locked = connection.scalar(select(func.pg_try_advisory_lock(key)))
                # Asked for by itself: what the other run stored before it let go is seen by a
                # statement that begins after it did.
                over = self._over(connection, task, task_id, request) if locked else None
            except SQLAlchemyError as error:
                self._disconnect()
                wait, limit = self._outage.failed(error), WAIT_PART * hard
                reason = 'the result database is away'
            else:
                self._outage.ended()
                if locked:
                    return over
                wait, limit, reason = pause, LOCK_PART * shorter, 'it runs elsewhere'
                pause = min(2 * pause, LAST_PAUSE)
            now = time.monotonic()
            # The next try may take as long as this one.
            left = limit - (now - began) - (now - asked_at)
            if left <= 0 or shutdown.overdue():
                with logs.about(task, request):
                    logger.warning(
                        'goes back to its queue, since %s', reason, extra={'action': 'handed back'}
                    )
                not_run.send(sender=task, request=request, state=states.REJECTED)
                raise Reject(reason, requeue=True)
            shutdown.sleep(min(wait, left))

    def _over(
        self, connection: Connection, task: Task, task_id: str, request: Mapping[str, Any]
    ) -> str | None:
        """Return the state of this attempt, or a later one, when that is over."""
        table = self._backend.task_cls.__table__
        row = connection.execute(
            select(table.c.status, table.c.retries).where(table.c.task_id == task_id)
        ).one_or_none()
        if row is None or row.status not in OVER:
            return None
        if row.status == states.FAILURE and not (task.acks_on_failure and task.acks_on_timeout):
            return None  # the message has come back for it to run again
        # A result without a number was stored by hand, or by a worker without extended results.
        earlier = row.retries is not None and row.retries < (request.get('retries') or 0)
        return None if earlier else str(row.status)

    def _connected(self) -> Connection:
        # Between two tasks: with its login, the connection would end while a task runs.
        if self._connection is not None and vault.outdated(self._connection):
            self._disconnect()
        if self._connection is None:
            self._connection = self._backend.connect()
            for name, value in KEEPALIVES.items():
                self._connection.execute(text(f'SET {name} = {value}'))
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None


def _time_limits(task: Task, request: Mapping[str, Any]) -> tuple[float, float]:
    """Return the hard limit, and the shorter of both, in seconds."""
    hard, soft = request.get('timelimit') or (None, None)
    conf = task.app.conf
    hard = hard or task.time_limit or conf.task_time_limit or math.inf
    soft = soft or task.soft_time_limit or conf.task_soft_time_limit or math.inf
    return hard, min(hard, soft)
