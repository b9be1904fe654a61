"""Checks each message before Celery's consumer gets it: Celery deletes some that call no task.

The body is decoded as Celery would do next, by the same function with the same accepted content
types, and kept in the message: the check costs no second decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ['MessageCheck', 'fault_of', 'task_consumer']

#: Limits of a row of Celery's results. A task that cannot store its result does not end.
MAX_ID_LENGTH = 155
MAX_RETRIES = 2**31 - 1


def task_consumer(callback: Any) -> Any:
    """Return the kombu consumer behind ``callback`` if it is that of a Celery worker's tasks.

    Others, such as those of a `celery.bootsteps.ConsumerStep`, get every message.
    """
    consumer = getattr(callback, '__self__', None)
    worker = getattr(getattr(consumer, 'on_decode_error', None), '__self__', None)
    return consumer if hasattr(worker, 'create_task_handler') else None


class MessageCheck:
    """Stands before Celery's consumer of tasks.

    ``callback`` gets the messages that call a task, ``move`` delivery tag and reason of the others.
    """

    def __init__(
        self, consumer: Any, callback: Callable[[Any], object], move: Callable[[str, str], object]
    ) -> None:
        #: The message that Celery is looking at: what it rejects now, it has not started.
        self.current: str | None = None
        self._consumer = consumer
        self._callback = callback
        self._move = move

    def __call__(self, message: Any) -> None:
        message.accept = self._consumer.accept
        reason = fault_of(message)
        if reason is not None:
            self._move(message.delivery_tag, reason)
            return
        self.current = message.delivery_tag
        try:
            self._callback(message)
        finally:
            self.current = None


def fault_of(message: Any) -> str | None:
    """Return why a message of kombu calls no task; None when it does."""
    if message.errors:
        return f'cannot be unpacked: {_brief(message.errors[0][1])}'
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001  (a message of another program may raise anything)
        return f'the body cannot be decoded: {_brief(error)}'
    headers = message.headers
    if 'task' in headers:
        return _fault_of_call(headers, 'header') or _fault_of_body(body)
    if isinstance(body, dict) and 'task' in body:  # protocol 1
        return _fault_of_call(body, 'field') or _fault_of_body(body)
    return 'not a Celery message: neither its headers nor its body name a task'


def _fault_of_call(fields: dict[str, Any], kind: str) -> str | None:
    for name in ('task', 'id'):
        value = fields.get(name)
        if not isinstance(value, str) or not value:
            return f'{kind} {name} is not a text: {value!r}'
    task_id = fields['id']
    if len(task_id) > MAX_ID_LENGTH or not task_id.isprintable():
        return f'{kind} id is not a text of at most {MAX_ID_LENGTH} characters: {task_id!r}'
    for name, fits, wanted in OPTIONAL:
        value = fields.get(name)
        if value is not None and not fits(value):
            return f'{kind} {name} is not {wanted}: {value!r}'
    return None


def _are_limits(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        # No comparison holds for NaN, and the worker's timers hold no more.
        and all(v is None or (isinstance(v, (int, float)) and abs(v) < 1e12) for v in value)
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


#: Fields that the worker's main process uses unchecked, and ends where they do not fit.
OPTIONAL: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ('retries', lambda v: isinstance(v, int) and 0 <= v <= MAX_RETRIES, 'a number of retries'),
    ('timelimit', _are_limits, 'two numbers'),
    ('stamped_headers', _are_texts, 'a list of texts'),
    ('stamps', lambda v: isinstance(v, dict), 'an object'),
)


def _fault_of_body(body: Any) -> str | None:
    if isinstance(body, dict):  # of protocol 1, which some send with the headers of protocol 2
        args, kwargs, embed = body.get('args', ()), body.get('kwargs', {}), None
    elif isinstance(body, (list, tuple)) and len(body) == 3:
        args, kwargs, embed = body
    else:
        return 'the body is not [args, kwargs, embed]'
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
        return 'args is not a list, or kwargs is not an object'
    return None if isinstance(embed, (dict, type(None))) else 'embed is not an object'


def _brief(error: BaseException) -> str:
    return f'{type(error).__name__}: {error}'
