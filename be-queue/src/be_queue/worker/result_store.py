"""Makes any result backend of Celery's lose nothing while its server is unavailable.

Celery stores that a task has started before it runs it, and its result before the message is
deleted. When either raises, it deletes the message all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from celery import Celery, current_task, states
from celery.app.backends import by_url
from celery.backends.base import Backend, DisabledBackend
from celery.exceptions import BackendStoreError, Reject
from celery.utils.log import get_logger
from kombu.asynchronous import get_event_loop
from kombu.exceptions import EncodeError
from sqlalchemy import create_engine

from be_queue import SettingError
from be_queue.outage import CHECK_RESULT_DB, Outage, brief
from be_queue.redact import redact
from be_queue.worker import shutdown
from be_queue.worker.metrics.metrics import STORE_ERRORS, STORE_SECONDS
from be_queue.worker.revoked import Revoked
from be_queue.worker.role import Role

__all__ = ['WAIT_PART', 'ResultStore', 'hand_back', 'install']

logger = get_logger(__name__)

IsOutage = Callable[[BaseException], bool]

#: The part of a task's hard time limit that may be over while it waits for the backend.
WAIT_PART = 0.9
#: Errors of a value and not of the backend: another try would raise the same.
REFUSALS = (EncodeError, BackendStoreError, TypeError, ValueError)
#: The settings to check, and the rights for a database that refuses a statement.
CHECK = (
    f'{CHECK_RESULT_DB}; where permission is denied, the rights of RESULT_DB_USER: CREATE on the '
    'schema until the tables are there, then SELECT, INSERT, UPDATE and DELETE on celery_taskmeta '
    'and celery_tasksetmeta, and USAGE on task_id_sequence and taskset_id_sequence'
)
#: Backends that no producer could read a worker's results from, by the beginning of the setting.
UNUSABLE = {
    'be_queue.results:NotInstalled': "its driver is missing: pip install 'be-queue[results]'",
    'rpc://': 'it needs a queue for each producer, which SQS does not have',
    'cache+memory://': 'it keeps results in the memory of one process',
}
USABLE = (
    'set it to db+postgresql+psycopg://USER:PASS@HOST/NAME, db+sqlite:///FILE, redis://HOST:PORT/0 '
    'or another backend of Celery whose driver is installed, or to disabled:// for no results'
)


def install(app: Celery) -> None:
    """Have the worker's app store its results through `ResultStore`.

    Raises `SettingError` when the app's result backend can never work.
    """
    chosen = str(app.conf.result_backend)
    for prefix, reason in UNUSABLE.items():
        if chosen.startswith(prefix):
            raise _unusable(chosen, reason)
    app.conf.database_create_tables_at_setup = False  # which fails while the database is down
    try:
        backend_class, url = by_url(app.conf.result_backend, app.loader)
        if issubclass(backend_class, DisabledBackend):
            return
        app.backend_cls = type('Backend', (ResultStore, backend_class), {'given_url': url})
        options = getattr(app.backend, 'engine_options', None)
        if options is not None:  # a database: its driver is not imported before the first use
            create_engine(app.backend.url, **options)
    except Exception as error:  # noqa: BLE001  (each backend has exceptions of its own)
        raise _unusable(chosen, brief(error)) from None


def _unusable(backend: str, reason: str) -> SettingError:
    return SettingError(f'CELERY_RESULT_BACKEND={redact(backend)!r}: {reason}: {USABLE}')


def hand_back(reason: str) -> NoReturn:
    """Have SQS deliver the task's message again."""
    logger.warning('goes back to its queue, since %s', reason, extra={'action': 'handed back'})
    raise Reject(reason, requeue=True)


class ResultStore(Backend):
    """Goes before a backend's class, and does what its process can do; `play` says which.

    A pool process waits: the message is deleted after the result is stored. Before the hard time
    limit would kill the process, and the message with it, and soon after the worker was told to
    stop, the message goes back to its queue, and the task runs again. The consuming process, which
    stores the end of tasks whose process was lost or killed, must not wait, since nobody consumes
    meanwhile: it tries again from a timer. In other processes it changes nothing.
    """

    #: The URL that Celery does not give to a backend that is set as a class.
    given_url: str | None = None

    def __init__(self, *args: Any, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, url=url or self.given_url, **kwargs)
        self._role: Role | None = None
        self._outage = Outage('the result database', hint=CHECK)
        self._refusals = REFUSALS + getattr(self, 'refusals', ())
        #: Calls for the consuming process to repeat, by what they store.
        self._deferred: dict[str, Callable[[], Any]] = {}

    def play(self, role: Role) -> None:
        """Behave as this kind of process must."""
        self._role = role
        # Celery's own tries, and those of its Redis backend.
        self.always_retry = False
        self.retry_policy: dict[str, Any] = {**self.retry_policy, 'max_retries': 0}
        if role is Role.CONSUMER and hasattr(self, 'connect'):
            # Creates the tables, before the pool's processes would all at once.
            with suppress(Exception):  # the first result tries again, and says what is wrong
                self.connect().close()

    def flush(self) -> None:
        """Store what could not be stored, for the last time: the consuming process ends."""
        self._store_deferred()
        for what in self._deferred:
            logger.error('the result database is unavailable: lost that %s', what)

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        # Around the public method: it is all that a user's own backend needs to have.
        store = partial(super().store_result, task_id, result, state, *args, **kwargs)

        def is_outage(error: BaseException) -> bool:
            return not isinstance(error, self._refusals)

        try:
            self._call(f'task {task_id} is {state}', store, is_outage)
        except self._refusals as error:
            if self._role is not Role.POOL or state != states.STARTED:
                raise
            raise Reject(f'its start cannot be stored: {brief(error)}') from error
        return self.encode_result(result, state)

    def not_started(self, task_id: str) -> None:
        if self._role is Role.POOL and self.get_state(task_id) == states.REVOKED:
            raise Revoked

    def on_chord_part_return(self, request: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        count = partial(super().on_chord_part_return, request, state, *args, **kwargs)
        what = f'the chord of task {request.id} has a part that is {state}'
        return self._call(what, count, self.exception_safe_to_retry)

    def _ensure_retryable(self, func: Any, *args: Any, **options: Any) -> Any:
        if self._role is not Role.POOL:
            return super()._ensure_retryable(func, *args, **options)
        for name in ('fallback_exc', 'fallback_msg', 'max_retries'):
            options.pop(name, None)
        return self._wait_for(partial(func, *args, **options), self.exception_safe_to_retry)

    @STORE_ERRORS.labels('store').count_exceptions()
    @STORE_SECONDS.labels('store').time()
    def _store_result(self, *args: Any, **kwargs: Any) -> Any:
        return super()._store_result(*args, **kwargs)

    def _call(self, what: str, action: Callable[[], Any], is_outage: IsOutage) -> Any:
        if self._role is Role.POOL:
            return self._wait_for(action, is_outage)
        if self._role is not Role.CONSUMER:
            return action()
        idle = not self._deferred
        self._deferred[what] = action
        if idle:
            self._store_deferred()
        return None

    def _wait_for(self, action: Callable[[], Any], is_outage: IsOutage) -> Any:
        """Repeat ``action`` until the backend answers; raise Reject when that takes too long."""
        while True:
            try:
                value = action()
                self._outage.ended()
                return value
            except Reject:
                raise
            except Exception as error:
                if not is_outage(error):
                    raise
                seconds = self._outage.failed(error)
                self.on_backend_retryable_error(error)
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        if not current_task:
            time.sleep(seconds)
            return
        request = current_task.request
        limit = (request.timelimit or [None])[0] or current_task.time_limit
        waited = time.monotonic() - request.prerun_at
        if not limit or waited + seconds <= limit * WAIT_PART:
            shutdown.sleep(seconds)
            if not shutdown.overdue():
                return
        hand_back(f'the result database is unavailable for {waited:.0f} s')

    def _store_deferred(self) -> None:
        """Make the calls in their order; after one that fails, go on from a timer."""
        for what, action in list(self._deferred.items()):
            try:
                action()
            except self._refusals as error:
                logger.error('cannot be stored: %s: %s', what, brief(error))
            except Exception as error:  # noqa: BLE001  (each backend has exceptions of its own)
                get_event_loop().call_later(self._outage.failed(error), self._store_deferred)
                return
            del self._deferred[what]
        self._outage.ended()
