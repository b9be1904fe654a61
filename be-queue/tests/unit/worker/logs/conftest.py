"""Records of the tests' own, and a Celery app that runs nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, Task
from celery._state import _task_stack

from app.tasks.base_task import FixedDelayTask
from be_queue.worker.logs.context import ContextFilter

Record = Callable[..., logging.LogRecord]


@pytest.fixture
def record() -> Record:
    """Return a function that makes what a handler formats."""

    def make(message: object, *args: Any, name: str = 'app.tasks', **others: Any) -> Any:
        level = others.pop('level', logging.INFO)
        exc_info = sys.exc_info() if others.pop('exc_info', False) else None
        made = logging.getLogger(name).makeRecord(
            name, level, __file__, 1, message, args, exc_info, extra=others
        )
        assert ContextFilter('worker').filter(made)
        return made

    return make


@pytest.fixture(scope='session')
def charge() -> Task:
    """Return a task that does nothing."""
    app = Celery('logs', broker='memory://', set_as_current=False)

    @app.task(base=FixedDelayTask, name='charge', shared=False)
    def charge() -> None: ...

    return charge


@pytest.fixture
def running(charge: Task) -> Callable[..., Any]:
    """Return a context manager in which Celery runs the task ``charge`` with a request."""

    @contextmanager
    def run(**request: Any) -> Iterator[Task]:
        given = {
            'id': 'an-id',
            'retries': 1,
            'delivery_info': {'routing_key': 'prod-payments-charge'},
            'called_directly': False,
        }
        # As celery.app.trace does.
        _task_stack.push(charge)
        charge.push_request(**given | request)
        try:
            yield charge
        finally:
            charge.pop_request()
            _task_stack.pop()

    return run
