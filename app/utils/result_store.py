"""Celery's database backend, made to give up no result while the database is away."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from celery import current_task
from celery.backends.database import DatabaseBackend
from celery.exceptions import BackendStoreError, Reject
from celery.utils.log import get_logger
from kombu.asynchronous import get_event_loop
from sqlalchemy import String
from sqlalchemy.exc import DataError

from app.utils.long_text import storable
from app.utils.metrics import results as metrics
from app.utils.role import Role
from be_queue.outage import CHECK_RESULT_DB, Outage

__all__ = ['ResultStore']

logger = get_logger(__name__)

#: The part of a task's hard time limit that may be over while it waits for the database.
PATIENCE_PART = 0.9

_SECONDS = metrics.SECONDS.labels('store')
_ERRORS = metrics.ERRORS.labels('store')


class ResultStore(DatabaseBackend):
    """Does what the process that uses it can do about a database that is away; `play` says which.

    A pool process waits: the message is deleted after the result is stored. Before the hard time
    limit would kill the process, and the message with it, the message goes back to its queue, and
    the task runs again. The consuming process, which stores what a lost or killed child could not,
    must not wait, since nobody consumes meanwhile: it tries again from a timer. Others, the web
    server or a producer, have Celery's few quick attempts.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._role: Role | None = None
        self._outage = Outage('the result database', hint=CHECK_RESULT_DB)
        #: Arguments of the calls of `store_result` to repeat, by task id.
        self._unstored: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def play(self, role: Role) -> None:
        """Behave as this kind of process must."""
        self._role = role
        if role is Role.CONSUMER:
            self.max_retries = 0
            # Else its ten attempts to make the tables, which the children make, come first.
            self.session_manager.prepared = True

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except BackendStoreError as error:
            if self._role is not Role.CONSUMER:
                raise
            if not self._unstored:
                self._try_later(error)
            self._unstored[task_id] = (result, state, *args), kwargs
            return self.encode_result(result, state)

    def flush(self) -> None:
        """Store what could not be stored, for the last time: the consuming process ends."""
        self._store_unstored()
        for task_id, ((_, state, *_rest), _kwargs) in self._unstored.items():
            logger.error('the result database is away: lost that task %s is %s', task_id, state)

    def _store_result(self, *args: Any, **kwargs: Any) -> Any:
        began_at = time.monotonic()
        try:
            return super()._store_result(*args, **kwargs)
        except Exception:
            _ERRORS.inc()
            raise
        finally:
            _SECONDS.observe(time.monotonic() - began_at)

    def _update_result(self, task: Any, *args: Any, **kwargs: Any) -> None:
        super()._update_result(task, *args, **kwargs)
        for name, length in self._texts:
            text = getattr(task, name)
            if isinstance(text, str):
                # For a row that is refused, Celery would store another failure instead.
                setattr(task, name, storable(text)[:length])

    @cached_property
    def _texts(self) -> list[tuple[str, int | None]]:
        """The columns of text but for the key, with how many characters each takes."""
        return [
            (column.name, column.type.length)
            for column in self.task_cls.__table__.columns
            if isinstance(column.type, String) and column.name != 'task_id'
        ]

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        # What the database cannot hold, such as an id that is too long, it never will.
        return not isinstance(exc, DataError) and bool(super().exception_safe_to_retry(exc))

    def _try_later(self, error: BaseException) -> None:
        get_event_loop().call_later(self._outage.failed(error), self._store_unstored)

    def _store_unstored(self) -> None:
        for task_id, (args, kwargs) in list(self._unstored.items()):
            try:
                super().store_result(task_id, *args, **kwargs)
            except BackendStoreError as error:
                self._try_later(error)
                return
            del self._unstored[task_id]
        self._outage.ended()

    def _ensure_retryable(self, func: Any, *args: Any, **options: Any) -> Any:
        if self._role is not Role.POOL:
            return super()._ensure_retryable(func, *args, **options)
        for name in ('fallback_exc', 'fallback_msg', 'max_retries'):
            options.pop(name, None)
        while True:
            try:
                value = func(*args, **options)
            except Exception as error:
                if not self.exception_safe_to_retry(error):
                    raise
                wait = self._outage.failed(error)
                self.on_backend_retryable_error(error)
            else:
                self._outage.ended()
                return value
            self._wait(wait)

    def _wait(self, seconds: float) -> None:
        if current_task:
            request = current_task.request
            limit = (request.timelimit or [None])[0] or current_task.time_limit
            waited = time.monotonic() - request.prerun_at
            if limit and waited + seconds > limit * PATIENCE_PART:
                reason = f'the result database is away for {waited:.0f} s'
                logger.warning(
                    'goes back to its queue, since %s', reason, extra={'action': 'handed back'}
                )
                raise Reject(reason, requeue=True)
        time.sleep(seconds)
