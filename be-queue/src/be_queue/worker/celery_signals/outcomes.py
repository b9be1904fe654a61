"""Keeps the end of a task from ending more than the task.

A pool process hands what its task raised to the main process, pickled. There Celery raises a
MemoryError again and ends, and ends as well when it cannot unpickle an exception; it takes a
WorkerLostError for its own. SystemExit and KeyboardInterrupt end the pool process, and the task
runs again. So in a pool process:

| an exception of a task     |                                                                     |
|----------------------------|---------------------------------------------------------------------|
| that is not an `Exception` | becomes a `TaskError`: the task fails, and no policy retries it     |
| that cannot be pickled     | is stored, logged and reported as itself, not as a substitute       |
| for the main process       | becomes a plain one, which says what to do with the message, and    |
|                            | no more                                                             |

See https://github.com/celery/celery/issues/10462 and https://github.com/celery/celery/issues/6990.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from billiard.common import terminate_handler_fired
from billiard.einfo import ExceptionInfo
from celery import current_app, exceptions, signals
from celery.app import trace
from celery.exceptions import Ignore, Reject, Retry
from kombu.utils.encoding import safe_repr

from be_queue.consumer import raised
from be_queue.worker import soft_time_limit
from be_queue.worker.revoked import skipping

__all__ = ['TaskError']

Run = Callable[..., Any]


class TaskError(Exception):
    """A task raised SystemExit, KeyboardInterrupt or another that is not an `Exception`."""


@signals.worker_process_init.connect
def _contain(sender: str, **_: Any) -> None:
    for module in (trace, exceptions):
        module.get_pickleable_exception = lambda error: error
    backend = current_app.backend
    backend.prepare_exception = _readable(backend.prepare_exception)
    for name, task in current_app.tasks.items():
        task.run = _contained(task.run)
        run_task = trace.build_tracer(name, task, current_app.loader, sender, app=current_app)
        task.__trace__ = _with_plain_errors(skipping(task, run_task))


def _contained(run: Run) -> Run:
    @functools.wraps(run)
    def contained(*args: Any, **kwargs: Any) -> Any:
        try:
            with soft_time_limit.applies():
                return run(*args, **kwargs)
        except Exception:
            raise
        except BaseException as error:
            if terminate_handler_fired():  # by a signal to this process: the task runs again
                raise
            raise TaskError(_described(error)) from error

    return contained


def _with_plain_errors(run_task: Run) -> Run:
    def traced(*args: Any) -> Any:
        try:
            outcome = run_task(*args)
        except BaseException as error:
            if terminate_handler_fired():
                raise
            raise _plain(error) from error
        info = outcome.retval
        if isinstance(info, ExceptionInfo):
            plain = _plain(raised(info))
            info.type, info.exception, info.tb = type(plain), plain, None
        return outcome

    return traced


def _plain(error: BaseException) -> Exception:
    """Return an exception that the main process can unpickle, and that does not end it."""
    plain: Exception = TaskError(_described(error))
    if isinstance(error, Reject):
        plain = Reject(_text(error.reason), requeue=error.requeue)
    elif isinstance(error, (Retry, Ignore)):
        plain = Retry() if isinstance(error, Retry) else Ignore()
    return plain


def _readable(prepare: Run) -> Run:
    """Store the name and the text of an exception that its class does not make of its ``args``.

    Celery's readers would raise ``Exception("<class 'shop.PaymentError'>(['text'])")``. When no
    module is stored, they raise one of a new class of that name.
    """

    def prepare_exception(error: BaseException, serializer: str | None = None) -> Any:
        prepared = prepare(error, serializer)
        try:
            is_made_of_args = str(type(error)(*error.args)) == str(error)
        except Exception:  # noqa: BLE001  (its class may raise anything)
            is_made_of_args = False
        if isinstance(prepared, dict) and not is_made_of_args:
            prepared |= {'exc_module': None, 'exc_message': (_text(error),)}
        return prepared

    return prepare_exception


def _described(error: BaseException) -> str:
    return f'{type(error).__name__}: {_text(error)}'


def _text(error: object) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (its class may raise anything)
        return str(safe_repr(error))
