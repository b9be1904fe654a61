"""Skips a message whose task runs already or has run: off until IDEMPOTENCY_GUARD is set.

Each delivery takes PostgreSQL's advisory lock of its task id, looks for the result, and keeps the
lock until its own result is stored; see docs/delivery.md.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celery import Celery, Task, signals, states
from celery.utils.dispatch import Signal
from celery.utils.log import get_logger
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from be_queue import SettingError
from be_queue.outage import CHECK_RESULT_DB, Outage
from be_queue.redact import redact
from be_queue.worker import logs, shutdown, vault
from be_queue.worker.result_store import WAIT_PART, hand_back

__all__ = ['KEEPALIVES', 'LOCK_PART', 'Guard', 'install', 'not_run']

logger = get_logger(__name__)

#: The part of a task's shorter time limit that it waits for another run of it: four waits, each of
#: which costs a receive, outlast any run.
LOCK_PART = 0.3
#: Seconds between two tries to get the lock: the first, which doubles, and the last.
FIRST_PAUSE = 0.05
LAST_PAUSE = 1.0
#: States that mean that the attempt which stored them is over.
OVER = states.READY_STATES | {states.RETRY}
#: PostgreSQL ends the locks of a machine that has lost its power after 30 s, not two hours.
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

    def guard_tasks(**_: Any) -> None:
        guard = Guard(app)
        for task in app.tasks.values():
            # Around all that Celery does for a task: STARTED is stored before the task is called,
            # and would replace a failure; the result is stored after it has returned.
            task.__trace__ = guard.around(task, task.__trace__)

    signals.worker_process_init.connect(guard_tasks, weak=False)


class Guard:
    """The locks of one process, which runs one task at a time, on a connection that it keeps."""

    def __init__(self, app: Celery) -> None:
        self._backend: Any = app.backend
        self._outage = Outage("the idempotency guard's result database", hint=CHECK_RESULT_DB)
        self._connection: Connection | None = None

    def around(self, task: Task, trace: Trace) -> Trace:
        """Return ``trace``, the function that runs the task, with the guard before it."""

        def guarded(uuid: str, args: Any, kwargs: Any, request: Mapping[str, Any]) -> Any:
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
        """Hold the task's lock; give the state of its attempt if that is over.

        Raises Reject, which hands the message back, when the lock cannot be had in time.
        """
        lock = select(func.pg_try_advisory_lock(func.hashtextextended(task_id, 0)))
        hard, soft = _time_limits(task, request)
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            asked_at = time.monotonic()
            try:
                connection = self._connected()
                if connection.scalar(lock):
                    # In a statement of its own, which sees what the other run has stored.
                    over = self._over(connection, task, task_id, request)
                    self._outage.ended()
                    break
            except SQLAlchemyError as error:
                self._disconnect()
                wait, limit = self._outage.failed(error), WAIT_PART * hard
                reason = 'the result database is unavailable'
            else:
                self._outage.ended()
                wait, limit, reason = pause, LOCK_PART * min(hard, soft), 'it runs elsewhere'
                pause = min(2 * pause, LAST_PAUSE)
            now = time.monotonic()
            # The next try may take as long as this one.
            left = limit - (now - began) - (now - asked_at)
            if left <= 0 or shutdown.overdue():
                not_run.send(sender=task, request=request, state=states.REJECTED)
                with logs.about(task, request):
                    hand_back(reason)
            shutdown.sleep(min(wait, left))
        try:
            yield over
        finally:
            try:
                if self._connection is not None:
                    self._connection.execute(select(func.pg_advisory_unlock_all()))
            except SQLAlchemyError:
                self._disconnect()  # and the lock is gone with the connection

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
                self._connection.exec_driver_sql(f'SET {name} = {value}')
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()


def _time_limits(task: Task, request: Mapping[str, Any]) -> tuple[float, float]:
    """Return the hard and the soft limit in seconds."""
    hard, soft = request.get('timelimit') or (None, None)
    return hard or task.time_limit or math.inf, soft or task.soft_time_limit or math.inf
